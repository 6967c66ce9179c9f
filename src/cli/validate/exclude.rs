//! Which files are left out: `--exclude`.

use anyhow::Context;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::path::{Component, Path, PathBuf};

/// Globs, as in a `.gitignore`: one without a slash is the name of a file or folder anywhere, one with a slash a path as
/// it is given, or below the folder that is given.
#[derive(Debug, Default)]
pub struct Excluded {
    names: GlobSet,
    paths: GlobSet,
}

impl Excluded {
    /// # Errors
    /// A text is no glob.
    pub fn new(globs: &[String]) -> anyhow::Result<Self> {
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for glob in globs {
            let bare = glob.trim_end_matches('/').trim_start_matches("./");
            let anywhere = !bare.contains('/');
            let built = GlobBuilder::new(bare.trim_start_matches('/')).literal_separator(true).build();
            let built = built.with_context(|| format!("--exclude {glob}"))?;
            if anywhere {
                names.add(built)
            } else {
                paths.add(built)
            };
        }
        Ok(Self { names: names.build()?, paths: paths.build()? })
    }

    /// Whether a file or folder is left out. `root` is the argument that led to it.
    pub fn leaves_out(&self, path: &Path, root: &Path) -> bool {
        if self.names.is_empty() && self.paths.is_empty() {
            return false;
        }
        let plain = |path: &Path| -> PathBuf {
            path.components().filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir)).collect()
        };
        let given = plain(path);
        let below = plain(path.strip_prefix(root).unwrap_or(path));
        // What is in a folder that is left out is left out with it.
        let within =
            |path: &Path| path.ancestors().any(|p| !p.as_os_str().is_empty() && self.paths.is_match(p));
        within(&given)
            || within(&below)
            || given.components().any(|c| self.names.is_match(Path::new(c.as_os_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (glob, path, want) in [
            ("charts", "repo/charts/x/a.yaml", true),
            ("charts/", "repo/charts/x/a.yaml", true),
            ("*.enc.yaml", "repo/a/secret.enc.yaml", true),
            ("*.enc.yaml", "repo/a/secret.yaml", false),
            ("charts/*/templates", "repo/charts/x/templates/a.yaml", true),
            ("repo/charts", "repo/charts/x/a.yaml", true),
            ("./repo/charts/**", "repo/charts/x/a.yaml", true),
            ("x/a.yaml", "repo/charts/x/a.yaml", false),
            ("**/x/a.yaml", "repo/charts/x/a.yaml", true),
            ("a?.{yaml,yml}", "repo/ab.yml", true),
            ("chart", "repo/charts/a.yaml", false),
        ] {
            let excluded = Excluded::new(&[glob.to_owned()]).unwrap();
            for root in ["repo", "./repo"] {
                let path = if root == "repo" { path.to_owned() } else { format!("./{path}") };
                assert_eq!(excluded.leaves_out(Path::new(&path), Path::new(root)), want, "{glob} {path}");
            }
        }
        assert!(Excluded::new(&["a[".to_owned()]).is_err());
    }
}
