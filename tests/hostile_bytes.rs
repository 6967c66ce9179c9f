//! Kubeconfigs and YAML that mean harm: none runs, reads, blows up or is believed, and each refusal says where, what and how
//! to mend it.
//!
//! `fuzz/corpus/kubeconfig` has whole files. The first line of each is a comment that says `taken`, or what it is refused
//! with. That nothing of them is run or read is tried on a real controller, with traps
//! (`kubeconfigs_that_run_or_read_are_refused`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // What cannot be had fails the test.

use base64::Engine;
use kro_hub::fuzzing::{Taken, kubeconfig, yaml};
use std::path::PathBuf;
use std::time::Duration;

/// Stands in the files where a secret would.
const SECRET: &str = "sesame";
/// As large as a Secret may be.
const SIZE: usize = 1 << 20;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/kubeconfig")
}

fn file(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

#[test]
fn kubeconfigs_that_mean_harm_are_refused_by_secret_path_and_fix() {
    let mut wrong = Vec::new();
    let (mut all, mut taken) = (0, 0);
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = file(&name);
        let first = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let want = first.unwrap_or_else(|| panic!("{name} does not say what becomes of it"));
        let got = kubeconfig(text.as_bytes()).map_or_else(|message| message, |_| "taken".to_owned());
        assert!(!got.contains(SECRET), "{name}: {got}");
        assert_eq!(want == "taken", name.starts_with("taken"), "{name}");
        all += 1;
        taken += usize::from(want == "taken");
        let want = if want == "taken" { want.to_owned() } else { format!("Secret kro-hub/eu: {want}") };
        if got != want {
            wrong.push(format!("{name}\n  want {want}\n  got  {got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(all > 80 && taken > 4, "{taken} of {all} are taken");
}

/// What looks like a variable or a command to others is text here, and who connects reads the address as it was judged.
#[test]
fn what_is_taken_is_taken_to_the_letter() {
    let token = kubeconfig(file("taken-words.yaml").as_bytes()).unwrap().token;
    assert_eq!(token.as_deref(), Some("${HOME}$(id)`id`"));
    let token = kubeconfig(file("taken-include.yaml").as_bytes()).unwrap().token;
    assert_eq!(token.as_deref(), Some("/etc/passwd"), "the words, not the file");
    let good = file("taken.yaml");
    for (written, judged) in [
        ("https://rancher.example/k8s/clusters/c-m-1", "https://rancher.example/k8s/clusters/c-m-1"),
        (r#""https://spoke.example\\@evil.example""#, "https://spoke.example/@evil.example"),
        ("https:spoke.example", "https://spoke.example"),
        ("HTTPS://SPOKE.example:443/", "https://spoke.example"),
        ("https://spoke.example/a/../../b", "https://spoke.example/b"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://0x7f.1:6443", "https://127.0.0.1:6443"),
    ] {
        let text = good.replace("https://spoke.example:6443", written);
        let want = Taken { server: judged.into(), token: Some(SECRET.into()) };
        assert_eq!(kubeconfig(text.as_bytes()), Ok(want), "{written}");
    }
}

/// Here, since no key should stand in a file of a repository.
#[test]
fn a_certificate_has_its_own_key() {
    let (own, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let certificate = rcgen::CertificateParams::default().self_signed(&own).unwrap().pem();
    let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    let with = |key: &rcgen::KeyPair| {
        let (certificate, key) = (encode(certificate.clone()), encode(key.serialize_pem()));
        let user = format!("client-certificate-data: {certificate}\n    client-key-data: {key}");
        kubeconfig(file("taken.yaml").replace("token: sesame", &user).as_bytes())
    };
    assert_eq!(with(&own).map(|taken| taken.token), Ok(None));
    let why = "Secret kro-hub/eu: users[0].user.client-certificate-data: certificate and key do not fit; put PEM there, \
               encoded as base64";
    assert_eq!(with(&other), Err(why.to_owned()));
}

/// Files of 1 MiB that are made to take long or much, and bytes that are no text.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let fill = |piece: &str| piece.repeat(SIZE / piece.len());
    let half = "x".repeat(SIZE / 2);
    let repeated = |aliases: usize| format!("a: &a \"{half}\"\nb: [{}]", "*a,".repeat(aliases));
    let nested = |open: &str, close: &str| {
        let inner = "x,".repeat(SIZE / 2 - 1_000);
        format!("{}[{inner}]{}", open.repeat(100), close.repeat(100))
    };
    let many_keys: String = (0..80_000).map(|n| format!("k{n}: v\n")).collect();
    let texts = [
        ("one word", fill("a")),
        ("white space", fill(" ")),
        ("line ends", fill("\n")),
        ("lists in lists", fill("[")),
        ("lists in lists, by lines", fill("- ")),
        ("maps in maps", fill("{a: ")),
        ("keys that are maps", fill("? ")),
        ("many values", format!("[{}x]", fill("x,").get(..SIZE - 4).unwrap())),
        ("many keys", many_keys),
        ("many documents", fill("---\n")),
        ("many anchors", fill("- &a x\n")),
        ("anchors in anchors, by lines", fill("- &a\n ")),
        ("anchors in anchors", nested("&a [", "]")),
        ("tags", fill("- !a x\n")),
        ("half a megabyte, ninety times", repeated(90)),
        ("half a megabyte, a hundred thousand times", repeated(100_000)),
        ("quotes that never end", format!("a: \"{}", fill("\\\"").get(..SIZE - 4).unwrap())),
        ("comments", fill("# x\n")),
        ("merges", format!("a: &a {{b: c}}\nd:\n{}", fill(" <<: *a\n").get(..SIZE - 64).unwrap())),
    ];
    let mut all: Vec<(&str, Vec<u8>)> = texts.map(|(what, text)| (what, text.into_bytes())).into();
    all.extend([
        ("too large", vec![b'a'; SIZE + 1]),
        ("zeros", vec![0; SIZE]),
        ("one zero", b"apiVersion: v1\0\nkind: Config\n".to_vec()),
        ("no text", vec![0xff; SIZE]),
        ("half a character", b"token: \xc3".to_vec()),
        ("UTF-16 with half a pair", b"\xff\xfe\x00\xd8a\x00".to_vec()),
    ]);
    all
}

/// The answer, which took this thread no long time, whatever else runs here, and not many bytes at once.
fn measured<T>(what: &str, job: impl FnOnce() -> T) -> T {
    const LONG: Duration = Duration::from_secs(10);
    const MOST: u64 = 256 << 20;
    let (begin, mut answer) = (spent(), None);
    let used = allocation_counter::measure(|| answer = Some(job()));
    let took = spent().saturating_sub(begin);
    eprintln!("{what}: {took:?}, {} MiB", used.bytes_max >> 20);
    assert!(used.bytes_max < MOST, "{what}: {} MiB", used.bytes_max >> 20);
    assert!(took < LONG, "{what}: {took:?}");
    answer.unwrap()
}

/// The time that a processor had for this thread.
fn spent() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

#[test]
fn whatever_a_secret_holds_is_refused_soon_and_in_little_memory() {
    for (what, bytes) in bombs() {
        let refused = measured(what, || kubeconfig(&bytes)).expect_err(what);
        assert!(refused.starts_with("Secret kro-hub/eu: kubeconfig: "), "{what}: {refused}");
        assert!(refused.contains("; ") && refused.len() < 250, "{what}: {refused}");
    }
}

#[test]
fn whatever_a_repository_holds_is_read_or_refused_soon_and_in_little_memory() {
    for (what, bytes) in bombs() {
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let (objects, _) = measured(what, || yaml(&text));
        assert!(objects.is_empty(), "{what}");
    }
}
