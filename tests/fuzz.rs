//! The fuzz targets without a fuzzer: seeds, mutated in an order that is the same each time, for a moment.
//!
//! Longer, for one target or all of them: `KRO_HUB_FUZZ_SECONDS=300 [KRO_HUB_FUZZ_TARGET=cel_eval]
//! [KRO_HUB_FUZZ_SEED=2] cargo test --test spec fuzz -- --nocapture`. The input under work is kept in a file, which a
//! failure leaves behind; `KRO_HUB_FUZZ_INPUT=FILE` runs it alone.

#![allow(clippy::unwrap_used, clippy::panic)] // What cannot be had fails the test.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// As the threads that evaluate have it.
const STACK_BYTES: usize = 16 << 20;
/// No input may take longer, on a very busy machine and without optimisation.
const SLOW: Duration = Duration::from_secs(60);
/// Inputs of a short run, for each target.
const INPUTS: u64 = 1500;

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

struct Mutator {
    numbers: Numbers,
    seeds: Vec<Vec<u8>>,
    words: Vec<String>,
}

impl Mutator {
    fn pick(&mut self) -> Vec<u8> {
        let n = self.numbers.below(self.seeds.len());
        self.seeds[n].clone()
    }

    fn range(&mut self, len: usize) -> (usize, usize) {
        let (a, b) = (self.numbers.below(len + 1), self.numbers.below(len + 1));
        (a.min(b), a.max(b))
    }

    /// A seed, changed a few times; or words alone.
    fn next(&mut self) -> Vec<u8> {
        let mut out = if self.numbers.below(8) == 0 { Vec::new() } else { self.pick() };
        for _ in 0..=self.numbers.below(10) {
            let len = out.len();
            match self.numbers.below(9) {
                0 if len > 0 => {
                    let at = self.numbers.below(len);
                    out[at] = self.numbers.below(256) as u8;
                }
                1 => {
                    let (a, b) = self.range(len);
                    out.drain(a..b.min(a + 20));
                }
                2 => {
                    let (a, b) = self.range(len);
                    let copy = out[a..b].to_vec();
                    let at = self.numbers.below(len + 1);
                    out.splice(at..at, copy);
                }
                // Depth and length.
                3 => {
                    let (a, b) = self.range(len);
                    let copy = out[a..b.min(a + 12)].to_vec();
                    let times = 1 << self.numbers.below(12);
                    let at = self.numbers.below(len + 1);
                    out.splice(at..at, copy.repeat(times));
                }
                4 => {
                    let other = self.pick();
                    let (a, b) = self.range(other.len());
                    let at = self.numbers.below(len + 1);
                    out.splice(at..at, other[a..b].iter().copied());
                }
                // An expression inside another.
                5 => {
                    let other = self.pick();
                    let at = self.numbers.below(len + 1);
                    out.splice(at..at, [b"(".as_slice(), &other, b")"].concat());
                }
                _ => {
                    let n = self.numbers.below(self.words.len());
                    let at = self.numbers.below(len + 1);
                    out.splice(at..at, self.words[n].bytes());
                }
            }
        }
        out.truncate(20_000);
        out
    }
}

fn seeds(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 4, "{}", folder.display());
    files.iter().map(|f| fs::read(f).unwrap()).collect()
}

fn run(&(name, target, folder): &targets::Target) {
    let time = std::env::var("KRO_HUB_FUZZ_SECONDS").ok().map(|s| Duration::from_secs(s.parse().unwrap()));
    if std::env::var("KRO_HUB_FUZZ_TARGET").is_ok_and(|only| only != name) {
        return;
    }
    if let Ok(file) = std::env::var("KRO_HUB_FUZZ_INPUT") {
        let input = fs::read(file).unwrap();
        let begin = Instant::now();
        let alone = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || target(&input));
        assert!(alone.unwrap().join().is_ok(), "{name}: failed");
        eprintln!("{name}: {:?}", begin.elapsed());
        return;
    }
    let seed = std::env::var("KRO_HUB_FUZZ_SEED").map_or(1, |s| s.parse::<u64>().unwrap());
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
    let current = Arc::new(Mutex::new(Vec::new()));
    let (done, alive) = mpsc::channel::<u64>();
    let worker = {
        let (current, kept) = (Arc::clone(&current), kept.clone());
        let seeds = seeds(folder);
        let numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut mutator = Mutator { numbers, seeds: seeds.clone(), words: targets::words() };
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            let end = time.map(|time| Instant::now() + time);
            let mut seeds = seeds.into_iter();
            let mut slowest = Duration::ZERO;
            for n in 0_u64.. {
                if end.map_or(n >= INPUTS, |end| Instant::now() > end) {
                    break;
                }
                let input = seeds.next().unwrap_or_else(|| mutator.next());
                if end.is_some() {
                    fs::write(&kept, &input).unwrap();
                }
                current.lock().unwrap().clone_from(&input);
                let begin = Instant::now();
                target(&input);
                slowest = slowest.max(begin.elapsed());
                // Nobody listens any more only after a failure.
                let _ = done.send(n);
            }
            slowest
        })
    }
    .unwrap();
    let mut inputs = 0;
    loop {
        match alive.recv_timeout(SLOW) {
            Ok(n) => inputs = n + 1,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let input = current.lock().unwrap().clone();
                panic!("{name}: no end for {:?}", String::from_utf8_lossy(&input));
            }
        }
    }
    let Ok(slowest) = worker.join() else {
        let input = current.lock().map_or_else(|e| e.into_inner().clone(), |c| c.clone());
        panic!("{name}: failed for {:?}", String::from_utf8_lossy(&input));
    };
    assert!(inputs > 0);
    eprintln!("{name}: {inputs} inputs, the slowest {slowest:?}");
    drop(fs::remove_file(kept));
}

#[test]
fn fuzz_cel_parse() {
    run(&targets::ALL[0]);
}

#[test]
fn fuzz_cel_check() {
    run(&targets::ALL[1]);
}

#[test]
fn fuzz_cel_eval() {
    run(&targets::ALL[2]);
}

#[test]
fn fuzz_template_split() {
    run(&targets::ALL[3]);
}

#[test]
fn fuzz_simple_schema() {
    run(&targets::ALL[4]);
}

#[test]
fn fuzz_kubeconfig() {
    run(&targets::ALL[5]);
}

#[test]
fn fuzz_yaml() {
    run(&targets::ALL[6]);
}

#[test]
fn fuzz_watch_event() {
    run(&targets::ALL[7]);
}

#[test]
fn fuzz_managed_fields() {
    run(&targets::ALL[8]);
}

#[test]
fn fuzz_placement() {
    run(&targets::ALL[9]);
}

/// Each target is one of `cargo fuzz`, too.
#[test]
fn fuzz_targets_are_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let list = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, ..) in targets::ALL {
        assert!(list.contains(&format!("name = \"{name}\"\n")), "fuzz/Cargo.toml lacks {name}");
        assert!(folder.join(format!("fuzz_targets/{name}.rs")).is_file(), "fuzz_targets/{name}.rs");
    }
}
