//! The files of a folder at a revision of its repository, and as they are. The user's git reads them.

use crate::api::text::decode;
use anyhow::{Context, bail, ensure};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder of a repository.
pub struct Repository {
    folder: PathBuf,
}

/// Files: the name as a user would write it, and the text.
pub type Texts = Vec<(String, String)>;

/// Larger files hold no definitions.
const MAX_BYTES: u64 = 64 << 20;

impl Repository {
    /// # Errors
    /// The folder is in no repository, or there is no git.
    pub fn at(folder: &Path) -> anyhow::Result<Self> {
        let repository = Self { folder: folder.to_owned() };
        ensure!(folder.is_dir(), "{} is no folder", folder.display());
        let found = repository.git(&["rev-parse", "--is-inside-work-tree"]);
        match found.as_deref().map(str::trim) {
            Ok("true") => Ok(repository),
            Ok(_) => bail!("{} is in a repository without a work tree", folder.display()),
            Err(why) if why.to_string().contains("not a git repository") => {
                bail!("{} is in no git repository", folder.display())
            }
            Err(why) => bail!("{why:#}"),
        }
    }

    /// The commit that a revision names.
    ///
    /// # Errors
    /// There is none.
    pub fn commit(&self, revision: &str) -> anyhow::Result<String> {
        let wanted = format!("{revision}^{{commit}}");
        let found = self.git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted]);
        let found = found.ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        found.with_context(|| {
            format!(
                "{} has no revision {revision:?}; where a clone is shallow, git fetch brings more",
                self.folder.display()
            )
        })
    }

    /// The files below the folder at a commit that are wanted.
    ///
    /// # Errors
    /// git cannot read them.
    pub fn texts_at(&self, commit: &str, wanted: impl Fn(&Path) -> bool) -> anyhow::Result<Texts> {
        let listed = self.git(&["ls-tree", "-r", "-z", "-l", commit, "."])?;
        let mut files = Vec::new();
        for line in listed.split('\0').filter(|line| !line.is_empty()) {
            let (what, path) = line.split_once('\t').context("git ls-tree says something unknown")?;
            let mut what = what.split_whitespace();
            let (mode, kind, id, size) = (what.next(), what.next(), what.next(), what.next());
            let (Some(mode), Some("blob"), Some(id), Some(size)) = (mode, kind, id, size) else { continue };
            // A link is a file that says where it leads.
            let is_link = mode == "120000";
            if !is_link && size.parse::<u64>().is_ok_and(|size| size <= MAX_BYTES) && wanted(Path::new(path))
            {
                files.push((path.to_owned(), id.to_owned()));
            }
        }
        let ids: String = files.iter().map(|(_, id)| format!("{id}\n")).collect();
        let blobs = self.blobs(ids, files.len())?;
        let named =
            |((path, _), bytes): ((String, String), Vec<u8>)| Some((self.named(&path), decode(&bytes)?));
        Ok(files.into_iter().zip(blobs).filter_map(named).collect())
    }

    /// The files below the folder that are wanted, as they are: those that git knows or would take in.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn texts(&self, wanted: impl Fn(&Path) -> bool) -> anyhow::Result<Texts> {
        let listed = self.git(&["ls-files", "-z", "--cached", "--others", "--exclude-standard", "."])?;
        let mut names: Vec<&str> = listed.split('\0').filter(|name| wanted(Path::new(name))).collect();
        names.sort_unstable();
        names.dedup();
        let mut texts = Vec::new();
        for name in names {
            let path = self.folder.join(name);
            // What was deleted is still in the index.
            let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
            if meta.is_file() && meta.len() <= MAX_BYTES {
                let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
                texts.extend(decode(&bytes).map(|text| (self.named(name), text)));
            }
        }
        Ok(texts)
    }

    fn named(&self, path: &str) -> String {
        self.folder.join(path).display().to_string()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        // Nothing of it is for a person, and no path of it is quoted.
        command.arg("-C").arg(&self.folder).env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0");
        command
    }

    fn git(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = self.command().args(words).stdin(Stdio::null()).output();
        let output = output.context("git cannot be run; diff reads revisions with it")?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            let first = told.lines().next().unwrap_or_default().trim_start_matches("fatal: ");
            bail!("git {}: {first}", words.first().unwrap_or(&""));
        }
        String::from_utf8(output.stdout).context("a file has a name that is no UTF-8")
    }

    /// The contents of objects, in their order.
    fn blobs(&self, ids: String, count: usize) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut child = self
            .command()
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("git cannot be run; diff reads revisions with it")?;
        let mut asking = child.stdin.take().context("git takes no questions")?;
        // Answers come while questions are asked: whoever only asks fills both pipes.
        let asked = std::thread::spawn(move || asking.write_all(ids.as_bytes()));
        let output = child.wait_with_output().context("git cat-file")?;
        let _ = asked.join();
        ensure!(output.status.success(), "git cat-file failed");
        let (mut blobs, mut rest) = (Vec::with_capacity(count), output.stdout.as_slice());
        for _ in 0..count {
            let (blob, after) = answer(rest).context("git cat-file says something unknown")?;
            blobs.push(blob.to_vec());
            rest = after;
        }
        Ok(blobs)
    }
}

/// `ID blob SIZE`, a line end, so many bytes, a line end.
fn answer(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (head, rest) = bytes.split_at_checked(end)?;
    let size = std::str::from_utf8(head).ok()?.rsplit(' ').next()?.parse().ok()?;
    let (blob, rest) = rest.get(1..)?.split_at_checked(size)?;
    Some((blob, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_git_are_taken_by_their_size() {
        let (blob, rest) = answer(b"abc blob 3\na\nb\ndef blob 0\n\n").unwrap();
        assert_eq!(blob, b"a\nb");
        assert_eq!(answer(rest), Some((&b""[..], &b""[..])));
        for bad in [&b"abc missing\n"[..], b"abc blob 9\nabc", b"abc", b""] {
            assert_eq!(answer(bad), None);
        }
    }
}
