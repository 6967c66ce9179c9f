//! The built binary, run as a user runs it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs the binary in a folder, with a text as standard input.
#[allow(clippy::unwrap_used)] // What cannot be had fails the test.
pub fn run_in(folder: &Path, args: &[&str], input: &[u8]) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kro-hub"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    // A panic, or a signal, is no exit code of ours.
    let code = done.status.code().unwrap();
    Said { code, out: text(done.stdout), err: text(done.stderr) }
}
