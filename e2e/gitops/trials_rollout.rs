//! A change that goes by stages, each step a commit.

use super::Run;
use super::stand::{NOTES, Stand};
use anyhow::{Result, ensure};
use std::time::Duration;

pub const ALL: &[Run] = &[("a_staged_change_waits_for_its_approval_by_commit", staged)];

const NOTE: &str = "instances/staged.yaml";
const APPROVAL: &str = "instances/approval.yaml";

fn staged(stand: &Stand) -> Result<()> {
    stand.sync_example()?;
    let words = stand.listen()?;
    stand.take_example("rollout/placement.yaml", "instances/placement.yaml")?;
    stand.take_example("rollout/note.yaml", NOTE)?;
    let first = stand.commit("a note that goes by stages")?;
    waits_at_canary(stand, "first words")?;
    ensure!(stand.page("spoke-2", "staged")?.is_none(), "it is on spoke-2 already");
    words.ensure_never_green(&first, Duration::from_secs(5))?;

    stand.take_example("rollout/approval.yaml", APPROVAL)?;
    let approved = stand.commit("approve version 1")?;
    stand.wait_green(&approved)?;
    stand.wait_page("spoke-2", "staged", "first words")?;

    stand.edit(NOTE, "first words", "other words")?;
    let second = stand.commit("other words")?;
    waits_at_canary(stand, "other words")?;
    stand.wait_page("spoke-2", "staged", "first words")?;
    words.ensure_never_green(&second, Duration::from_secs(5))?;

    stand.edit(APPROVAL, "staged-1-prod", "staged-2-prod")?;
    stand.edit(APPROVAL, "version: 1", "version: 2")?;
    let approved = stand.commit("approve version 2")?;
    stand.wait_green(&approved)?;
    stand.wait_page("spoke-2", "staged", "other words")
}

/// The first spoke has it, and the next stage is not open.
fn waits_at_canary(stand: &Stand, text: &str) -> Result<()> {
    stand.wait_page("spoke-1", "staged", text)?;
    stand.wait_reason(&format!("{NOTES}/staged"), "RolloutAwaitingApproval").map(drop)
}
