//! The threads that evaluate: reconcile steps run user expressions, which need a known stack and must not hold up the
//! runtime that does the I/O.
//!
//! An actor hands in one step at a time and waits for it, so the queue serves the clusters in turn.

use super::host::AnyHost;
use std::sync::{Arc, Mutex, mpsc};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Deep enough for the largest expression that the limits let through.
pub const STACK_BYTES: usize = 16 << 20;

#[derive(Clone, Debug)]
pub struct Pool {
    /// `None`: jobs run where they are asked for.
    jobs: Option<mpsc::Sender<Job>>,
}

impl Pool {
    /// # Errors
    /// The operating system refuses to start a thread.
    pub fn start(threads: usize, host: &AnyHost) -> std::io::Result<Self> {
        Self::start_with(threads, host, || {})
    }

    /// Its threads let all others go first.
    ///
    /// # Errors
    /// The operating system refuses to start a thread.
    pub fn start_in_background(threads: usize, host: &AnyHost) -> std::io::Result<Self> {
        const NICER: i32 = 10;
        Self::start_with(threads, host, || {
            // Elsewhere it would concern the whole process.
            if cfg!(target_os = "linux") {
                rustix::process::nice(NICER).ok();
            }
        })
    }

    fn start_with(threads: usize, host: &AnyHost, begin: fn()) -> std::io::Result<Self> {
        if !host.has_threads() {
            return Ok(Self { jobs: None });
        }
        // Bounded by construction: who hands in a job waits for its end, so there is one for each cluster, definition and
        // instance that computes something at most.
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for n in 0..threads.max(1) {
            let queue = queue.clone();
            std::thread::Builder::new().name(format!("step-{n}")).stack_size(STACK_BYTES).spawn(
                move || {
                    begin();
                    loop {
                        let job = match queue.lock() {
                            Ok(queue) => queue.recv(),
                            Err(_) => return,
                        };
                        match job {
                            // A panic ends this job alone; whoever waits for it sees the channel closed.
                            Ok(job) => drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job))),
                            Err(_) => return,
                        }
                    }
                },
            )?;
        }
        Ok(Self { jobs: Some(jobs) })
    }

    /// Runs `f`; `None` if it panicked.
    pub async fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let Some(jobs) = &self.jobs else {
            return std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).ok();
        };
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || drop(done.send(f())));
        jobs.send(job).ok()?;
        result.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_one_job_alone() {
        let host: AnyHost = Arc::new(crate::spoke::host::ThisHost);
        let pool = Pool::start(1, &host).unwrap();
        assert_eq!(pool.run(|| panic!("one")).await, None::<()>);
        assert_eq!(pool.run(|| 2).await, Some(2));
    }
}
