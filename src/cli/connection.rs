//! The flags of every command that talks to clusters: kubectl's.

use crate::edge::{Failure, Flags, Person};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long an answer may take where nothing is said.
pub(super) const TIMEOUT: &str = "10s";

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connecting {
    /// Path of the kubeconfig [default: KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Context of the hub [default: the present one]
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// Namespace [default: that of the context]
    #[arg(short, long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// As another user
    #[arg(long = "as", value_name = "USER")]
    pub(super) user: Option<String>,
    /// As one of these groups; needs --as, may be given more than once
    #[arg(long = "as-group", value_name = "GROUP")]
    pub(super) groups: Vec<String>,
    /// How long one cluster may take to answer
    #[arg(long, value_name = "DURATION", default_value = TIMEOUT, value_parser = duration)]
    pub(super) request_timeout: Duration,
    /// Show what lies behind an error
    #[arg(short, long)]
    pub(super) verbose: bool,
}

impl Connecting {
    /// The person whom the flags speak of.
    ///
    /// # Errors
    /// Their kubeconfig cannot be read.
    pub fn person(&self) -> Result<Person, Failure> {
        Person::new(Flags {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            namespace: self.namespace.clone(),
            user: self.user.clone(),
            groups: self.groups.clone(),
            timeout: self.request_timeout,
        })
    }

    /// Runs what talks to clusters, with the stack that expressions are evaluated on, and tells what fails.
    pub fn run<F>(&self, work: impl FnOnce() -> F + Send + 'static) -> ExitCode
    where
        F: Future<Output = Result<ExitCode, Failure>>,
    {
        let verbose = self.verbose;
        let done = super::on_large_stack(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let done = runtime.block_on(work());
            // A credential plugin that hangs is not waited for.
            runtime.shutdown_background();
            anyhow::Ok(done)
        });
        match done {
            Ok(Ok(code)) => code,
            Ok(Err(failure)) => {
                eprintln!("error: {failure}");
                if let Some(cause) = failure.cause.filter(|_| verbose) {
                    eprintln!("  {cause}");
                }
                ExitCode::FAILURE
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

/// `10s`, `2m`, `500ms`, or seconds; 0 is no limit, as with kubectl.
pub fn duration(text: &str) -> Result<Duration, String> {
    const FOR_EVER: Duration = Duration::from_secs(366 * 24 * 3600);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 =
        number.parse().map_err(|_| format!("{text:?} is no duration: write 10s, 2m or 500ms"))?;
    let found = match unit {
        "ms" => Duration::from_millis(number),
        "" | "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        "h" => Duration::from_secs(number.saturating_mul(3600)),
        _ => return Err(format!("{text:?} is no duration: write 10s, 2m or 500ms")),
    };
    Ok(if found.is_zero() { FOR_EVER } else { found.min(FOR_EVER) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_for_kubectl() {
        for (text, expect) in [
            ("10s", Some(10_000)),
            ("10", Some(10_000)),
            ("2m", Some(120_000)),
            ("500ms", Some(500)),
            ("1h", Some(3_600_000)),
            ("0", Some(31_622_400_000)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("3 s", None),
        ] {
            let got = duration(text).ok().map(|d| d.as_millis());
            assert_eq!(got, expect, "{text}");
        }
    }
}
