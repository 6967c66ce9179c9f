//! What is taken of a kubeconfig, and how the rest is refused. `fuzz/corpus/kubeconfig` has whole files that mean harm.

use super::*;

fn config(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
    )
}
fn check(cluster: &str, user: &str) -> Result<Endpoint, Refused> {
    parse(config(cluster, user).as_bytes(), &Policy::default())
}
const SERVER: &str = "certificate-authority-data: Y2E=, server: 'https://h:6443'";
const TOKEN: &str = "token: sesame";

#[test]
fn what_is_allowed_is_taken() {
    let e = check("server: 'https://h:6443', certificate-authority-data: Y2E=, tls-server-name: srv", TOKEN)
        .unwrap();
    assert_eq!(
        (e.server(), e.tls_server_name(), e.ca_pem(), e.token()),
        ("https://h:6443", Some("srv"), Some(&b"ca"[..]), Some("sesame"))
    );
    let e = check(SERVER, "client-certificate-data: Yw==, client-key-data: aw==").unwrap();
    assert_eq!(e.client_identity_pem(), Some((&b"c"[..], &b"k"[..])));
}

#[test]
fn what_runs_reads_or_weakens_is_refused_by_name() {
    let cases = [
        (SERVER, "exec: {command: touch, args: [/tmp/kro-hub-was-here]}", "users[0].user.exec"),
        (SERVER, "auth-provider: {name: gcp, config: {cmd-path: /bin/sh}}", "users[0].user.auth-provider"),
        (SERVER, "tokenFile: /var/run/secrets/token", "users[0].user.tokenFile"),
        (
            SERVER,
            "client-certificate: /etc/passwd, client-key-data: aw==",
            "users[0].user.client-certificate",
        ),
        (SERVER, "client-key: /etc/passwd, client-certificate-data: aw==", "users[0].user.client-key"),
        (SERVER, "username: a, password: b", "users[0].user.username"),
        (SERVER, "token: t, password: b", "users[0].user.password"),
        (SERVER, "token: t, as: admin", "users[0].user.as"),
        (SERVER, "token: t, as-groups: ['system:masters']", "users[0].user.as-groups"),
        (SERVER, "", "users[0].user"),
        (SERVER, "client-certificate-data: Yw==", "users[0].user.client-key-data"),
        (
            SERVER,
            "token: t, client-key-data: '%%', client-certificate-data: Yw==",
            "users[0].user.client-key-data",
        ),
        ("server: 'http://h'", TOKEN, "clusters[0].cluster.server"),
        ("server: 'https://user:pw@h'", TOKEN, "clusters[0].cluster.server"),
        ("server: 'file:///etc/passwd'", TOKEN, "clusters[0].cluster.server"),
        (
            "insecure-skip-tls-verify: true, server: 'https://h'",
            TOKEN,
            "clusters[0].cluster.insecure-skip-tls-verify",
        ),
        (
            "certificate-authority: /etc/ca, server: 'https://h'",
            TOKEN,
            "clusters[0].cluster.certificate-authority",
        ),
        ("proxy-url: 'http://p', server: 'https://h'", TOKEN, "clusters[0].cluster.proxy-url"),
    ];
    for (cluster, user, field) in cases {
        let refused = check(cluster, user).expect_err(field);
        assert_eq!(refused.field, field);
        assert!(!refused.to_string().contains("sesame"), "{refused}");
    }
}

#[test]
fn other_shapes_are_refused() {
    let two = "contexts: [{name: a, context: {}}, {name: b, context: {}}]";
    for (text, field) in [
        ("", "kubeconfig"),
        ("[1]", "kubeconfig"),
        ("a: [", "kubeconfig"),
        ("Y2x1c3RlcnM6IFtdCg==", "kubeconfig"),
        (two, "current-context"),
        ("current-context: x", "contexts"),
    ] {
        assert_eq!(parse(text.as_bytes(), &Policy::default()).expect_err(text).field, field);
    }
    assert_eq!(parse(&vec![b'a'; MAX_BYTES + 1], &Policy::default()).expect_err("size").field, "kubeconfig");
    assert_eq!(parse(&[0xff, 0xfe], &Policy::default()).expect_err("utf-8").field, "kubeconfig");
}

#[test]
fn files_are_read_as_people_have_them() {
    let plain = config(SERVER, TOKEN);
    let wide = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        mark.into_iter().chain(plain.encode_utf16().flat_map(bytes)).collect()
    };
    for (what, bytes) in [
        ("UTF-8", plain.clone().into_bytes()),
        ("with a byte order mark", format!("\u{feff}{plain}").into_bytes()),
        ("line ends of Windows", plain.replace('\n', "\r\n").into_bytes()),
        ("UTF-16, little end first", wide([0xff, 0xfe], u16::to_le_bytes)),
        ("UTF-16, big end first", wide([0xfe, 0xff], u16::to_be_bytes)),
    ] {
        let read = parse(&bytes, &Policy::default());
        assert_eq!(read.as_ref().map(Endpoint::token), Ok(Some("sesame")), "{what}");
    }
    let odd = parse(&[0xff, 0xfe, b'a'], &Policy::default()).expect_err("half a unit");
    assert_eq!(odd.why, "it is neither UTF-8 nor UTF-16 text");
    let twice = base64::engine::general_purpose::STANDARD.encode(&plain);
    let refused = parse(twice.as_bytes(), &Policy::default()).expect_err("twice");
    assert!(refused.why.contains("base64 once more"), "{refused}");
}

#[test]
fn white_space_around_a_value_is_no_part_of_it() {
    let e = check(SERVER, "token: \" sesame\\n\"").unwrap();
    assert_eq!(e.token(), Some("sesame"));
    let e = check("certificate-authority-data: Y2E=, server: ' https://h:6443 '", TOKEN).unwrap();
    assert_eq!(e.server(), "https://h:6443");
}

#[test]
fn public_authorities_speak_for_a_cluster_only_where_somebody_said_so() {
    let bare = config("server: 'https://h:6443'", TOKEN);
    for text in [bare.clone(), bare.replace("server:", "certificate-authority-data: '', server:")] {
        let refused = parse(text.as_bytes(), &Policy::default()).expect_err("no CA");
        assert_eq!(refused.field, "clusters[0].cluster.certificate-authority-data");
        assert!(refused.to_string().contains("it is missing"), "{refused}");
        let policy = Policy { public_roots: true };
        let asked = parse(text.as_bytes(), &policy).unwrap();
        assert!(asked.trusts_public_roots());
    }
    let both = |public_roots| {
        let policy = Policy { public_roots };
        parse(config(SERVER, TOKEN).as_bytes(), &policy).unwrap().fingerprint()
    };
    assert_ne!(both(true), both(false));
}

#[test]
fn debug_shows_no_secret_and_a_new_token_is_seen() {
    let a = check(SERVER, TOKEN).unwrap();
    let b = check(SERVER, "token: other").unwrap();
    assert!(!format!("{a:?}").contains("sesame"));
    assert_ne!(a.fingerprint(), b.fingerprint());
}

proptest::proptest! {
    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        drop(parse(&bytes, &Policy::default()));
    }
}
