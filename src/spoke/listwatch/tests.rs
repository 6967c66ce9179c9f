use super::pace::{HELD, LASTED, POLL, WatchPace};
use super::wanted::SERVER_TIMEOUT_SECONDS;
use super::*;
use crate::spoke::client::{Answered, in_memory};
use futures::StreamExt;
use futures::future::BoxFuture;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

type Served = Arc<dyn Fn(&str) -> BoxFuture<'static, Answered> + Send + Sync>;

/// An answer that ends, or goes on without a word.
fn answer(status: u16, text: String, ends: bool) -> BoxFuture<'static, Answered> {
    let first = futures::stream::iter([Ok(Frame::data(text.into()))]);
    let rest =
        if ends { futures::stream::empty().left_stream() } else { futures::stream::pending().right_stream() };
    let body = StreamBody::new(first.chain(rest)).boxed_unsync();
    Box::pin(async move { Response::builder().status(status).body(body).unwrap() })
}
fn said(status: u16, body: Value) -> BoxFuture<'static, Answered> {
    answer(status, if body.is_null() { String::new() } else { format!("{body}\n") }, true)
}
fn object(name: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "7"}})
}
fn page(next: &str, names: &[&str]) -> BoxFuture<'static, Answered> {
    let items: Vec<Value> = names.iter().map(|name| object(name)).collect();
    said(200, json!({"metadata": {"resourceVersion": "5", "continue": next}, "items": items}))
}

fn pace() -> WatchPace {
    WatchPace::new(Duration::from_millis(100), Duration::from_millis(20))
}

/// What is asked and what is shown, by word, while the time goes by.
async fn followed(served: Served, time: Duration) -> (Vec<String>, Vec<String>) {
    let (asked, shown) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let log = asked.clone();
    let client = in_memory(move |request| {
        let uri = request.uri().to_string();
        let answer = served(&uri);
        log.lock().unwrap().push(uri);
        answer
    });
    let wanted = Wanted {
        path: "/api/v1/configmaps".into(),
        kind: "ConfigMap".into(),
        selectors: vec![("labelSelector", "a=b,c".into())],
        metadata: false,
    };
    let named = |object: &Value| object.pointer("/metadata/name").unwrap().as_str().unwrap().to_owned();
    let seen = |listed: Listed| {
        shown.lock().unwrap().push(match listed {
            Listed::Started => "[".into(),
            Listed::Done(_) => "]".into(),
            Listed::Object(object) => named(&object),
            Listed::Left(object) => format!("-{}", named(&object)),
        });
        true
    };
    let _ =
        tokio::time::timeout(time, ListWatch::new(&client, &wanted, pace(), seen).follow(|_, _| true)).await;
    let asked = asked.lock().unwrap().clone();
    let shown = shown.lock().unwrap().clone();
    (asked, shown)
}
fn watches(asked: &[String]) -> usize {
    asked.iter().filter(|uri| uri.contains("watch=true")).count()
}
const MOMENT: Duration = Duration::from_millis(2_500);

#[test]
fn what_does_not_last_costs_ever_less() {
    let mut pace = WatchPace::default();
    let mut tries_in = |minutes: u64, how: How| {
        let (mut spent, mut tries) = (Duration::ZERO, 0);
        while spent < Duration::from_secs(60 * minutes) {
            spent += Duration::from_millis(1) + pace.ended(Duration::from_millis(1), how, "c");
            tries += 1;
        }
        tries
    };
    for how in [How::Failed, How::Outdated] {
        let (first, then) = (tries_in(1, how), tries_in(10, how));
        assert!(first <= 11 && then <= 60, "{how:?}: {first} in the first minute, {then} in the next ten");
        let begins_anew = tries_in(1, How::Worked);
        assert!(begins_anew <= 45, "{begins_anew}");
    }
    let (first, then) = (tries_in(1, How::Worked), tries_in(10, How::Worked));
    assert!(first <= 45 && then <= 310, "that show something: {first} in the first minute, {then} in ten");
    assert_eq!(pace.ended(LASTED, How::Failed, "c"), Duration::ZERO);
    let pause = pace.ended(Duration::ZERO, How::Failed, "c");
    assert!(pause <= Duration::from_millis(500), "one that lasted begins anew");
}

#[test]
fn a_watch_that_ends_now_and_then_is_opened_again_at_once() {
    let mut pace = WatchPace::default();
    // The CRD of its kind changes some times in a row, and then now and then.
    let after = [vec![Duration::from_millis(200); 8], vec![Duration::from_secs(12); 50]].concat();
    assert!(after.into_iter().all(|lasted| {
        // And the version from before is forgotten.
        pace.ended(lasted, How::Worked, "c").is_zero()
            && pace.ended(Duration::ZERO, How::Outdated, "c").is_zero()
    }));
    // It changes every other second, and some of the watches between see nothing.
    for _ in 0..100 {
        let pause = pace.ended(Duration::from_millis(1_200), How::Worked, "c")
            + pace.ended(Duration::ZERO, How::Outdated, "c")
            + pace.ended(Duration::from_millis(100), How::Failed, "c");
        assert!(pause <= Duration::from_millis(2_500), "{pause:?}");
    }
}

#[test]
fn polling_begins_with_one_watch_that_is_held_back_and_ends_with_two_that_are_not() {
    let mut pace = WatchPace::default();
    assert!(!pace.opened());
    assert_eq!((pace.patience(), pace.held(), pace.held()), (HELD, true, false));
    assert_eq!(pace.patience(), POLL);
    pace.list = Duration::from_secs(3);
    assert_eq!(pace.patience(), Duration::from_secs(60), "costly lists are read less often");
    assert_eq!((pace.opened(), pace.held(), pace.opened(), pace.opened()), (false, false, false, true));
    assert_eq!(pace.patience(), Duration::from_secs(30), "where all is slow, a watch is not held back");
    pace.list = Duration::from_secs(1);
    assert_eq!(pace.patience(), HELD);
}

#[tokio::test]
async fn a_watch_that_ends_at_once_is_opened_ever_more_slowly_and_lists_take_its_place() {
    for status in [200, 302, 204] {
        let served: Served = Arc::new(move |uri| match uri.contains("watch=true") {
            true => said(status, Value::Null),
            false => page("", &["a"]),
        });
        let (asked, shown) = followed(served, MOMENT).await;
        assert!(asked.len() <= 8, "{status}: {} requests", asked.len());
        assert!(shown.len() >= 6, "{status}: it goes on listing: {shown:?}");
    }
}

#[tokio::test]
async fn what_fails_for_ever_costs_ever_less() {
    let failing: [(Served, &str); 3] = [
        (Arc::new(|_| said(400, json!({"code": 400, "message": "no selector"}))), "400"),
        (Arc::new(|_| said(200, json!({}))), "no list"),
        (
            Arc::new(|uri| if uri.contains("watch=true") { said(410, Value::Null) } else { page("", &[]) }),
            "410",
        ),
    ];
    for (served, case) in failing {
        let (asked, shown) = followed(served, MOMENT).await;
        assert!((2..=8).contains(&asked.len()), "{case}: {} requests", asked.len());
        assert!(case == "410" || !shown.contains(&"]".to_owned()), "{case}: that was no list");
    }
}

#[tokio::test]
async fn a_watch_without_a_head_is_replaced_by_lists_until_one_has_it() {
    let begun = Instant::now();
    let served: Served = Arc::new(move |uri| {
        let held = begun.elapsed() < Duration::from_secs(1);
        match uri.contains("watch=true") {
            true if held => Box::pin(std::future::pending()),
            true => answer(200, format!("{}\n", json!({"type": "ADDED", "object": object("b")})), false),
            false => page("", &["a"]),
        }
    });
    let (asked, shown) = followed(served, Duration::from_secs(2)).await;
    let lists = shown.iter().filter(|word| *word == "]").count();
    assert!((5..=50).contains(&lists), "{lists} lists in a second, every 20 ms at most, and none after that");
    assert!(watches(&asked) <= lists + 3);
    assert_eq!(shown.last().map(String::as_str), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_its_server_does_not_end_is_ended_all_the_same() {
    let served: Served = Arc::new(move |uri| match uri.contains("watch=true") {
        true => {
            let events = futures::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_secs(10)).await;
                let bookmark = json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}});
                Some((Ok(Frame::data(format!("{bookmark}\n").into())), ()))
            });
            let body = StreamBody::new(events).boxed_unsync();
            Box::pin(async move { Response::new(body) })
        }
        false => page("", &["a"]),
    });
    let (asked, _) = followed(served, Duration::from_secs(u64::from(SERVER_TIMEOUT_SECONDS) + 20)).await;
    assert_eq!(watches(&asked), 2, "{asked:?}");
}

#[tokio::test]
async fn a_list_is_read_in_pages_and_begins_anew_when_its_middle_is_gone() {
    let gone = Arc::new(Mutex::new(1));
    let served: Served = Arc::new(move |uri| match uri {
        uri if uri.contains("watch=true") => Box::pin(std::future::pending()),
        uri if uri.contains("continue=x") => {
            let mut gone = gone.lock().unwrap();
            *gone -= 1;
            if *gone == 0 { said(410, json!({"code": 410, "reason": "Expired"})) } else { page("", &["b"]) }
        }
        _ => page("x", &["a"]),
    });
    let (asked, shown) = followed(served, Duration::from_secs(5)).await;
    assert_eq!(shown.get(..6).unwrap(), ["[", "a", "[", "a", "b", "]"]);
    assert!(
        asked.iter().take(4).all(|uri| uri.contains("limit=500") && uri.contains("labelSelector=a%3Db%2Cc"))
    );
}

#[tokio::test]
async fn events_without_end_are_given_up_and_looked_at_again_much_later() {
    let served: Served = Arc::new(move |uri| match uri.contains("watch=true") {
        true => {
            let large = "x".repeat(3 * 1024 * 1024);
            let events = futures::stream::iter(0..).map(move |n: u32| {
                let object = json!({"metadata": {"name": n.to_string()}, "data": large});
                Ok(Frame::data(format!("{}\n", json!({"type": "ADDED", "object": object})).into()))
            });
            let body = StreamBody::new(events).boxed_unsync();
            Box::pin(async move { Response::new(body) })
        }
        false => page("", &["a"]),
    });
    let (asked, shown) = followed(served, MOMENT * 3).await;
    // A slow machine may not come to the bound within this time.
    assert!((1..90).contains(&shown.len()), "{} objects of 3 MiB", shown.len());
    assert!(watches(&asked) <= 1, "{asked:?}");
}

#[tokio::test]
async fn a_list_that_never_ends_is_given_up() {
    let served: Served = Arc::new(|_| page("x", &["a"]));
    let (asked, shown) = followed(served, Duration::from_secs(5)).await;
    assert!(asked.len() < 40 && !shown.contains(&"]".to_owned()));
}
