//! A plan tells by which stages a change would go, and then it goes by them.

use super::Run;
use super::people::{Person, Said};
use super::people_plan::{file, has};
use super::rollout::{PATIENCE, approve, define, place, two_stages, wait_says, wait_texts};
use super::stand::Stand;
use crate::env::eventually;
use anyhow::{Result, ensure};
use serde_json::json;

pub const TRIALS: &[Run] =
    &[("people::a_plan_tells_the_stages_that_a_change_goes_by_and_the_way_back", staged)];

fn staged(stand: &Stand) -> Result<()> {
    let kind = define(stand, "ballots", "Ballot")?;
    place(&kind, &json!({"names": ["eu", "us"]}), &two_stages())?;
    kind.create_as(json!({"name": "a"}), "{text: one}")?;
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 1"])?;
    approve(&kind, "a", 1, "prod")?;
    kind.wait_active("a", &["eu", "us"])?;

    let person = Person::new(stand, "ballots")?;
    let plan = |text: &str| -> Result<Said> {
        let object = format!(
            "apiVersion: kro.run/v1alpha1\nkind: Ballot\nmetadata: {{name: a}}\nspec: {{text: {text}}}\n"
        );
        let path = file(stand, "ballot.yaml", &object)?;
        let said = person.says(&format!("plan -f {} --spoke-context us=us-admin", path.display()))?;
        ensure!(said.code == 2, "{said:?}");
        Ok(said)
    };
    let forward = plan("two")?;
    has(
        &forward,
        &[
            "rollout of Ballot ballots/a   by Placement ballots/fleet   version 2\n",
            "  1 canary  eu\n  2 prod    us   waits for approval\n",
        ],
    )?;
    kind.edit("a", "{text: two}")?;
    wait_says(&kind, "a", "RolloutAwaitingApproval", &["version 2"])?;
    wait_texts(&kind, "a", ["two", "one", "-"])?;

    let back = plan("one")?;
    has(
        &back,
        &[
            "by Placement ballots/fleet   version 3\n",
            "  goes back to what version 1 was, all stages at once\n  1 canary  eu\n",
        ],
    )?;
    ensure!(!back.out.contains("approval"), "nobody is asked: {back:?}");
    kind.edit("a", "{text: one}")?;
    wait_texts(&kind, "a", ["one", "one", "-"])?;
    // us, which it never reached, stays at version 1: it is the same.
    eventually(PATIENCE, "version 3 is stable", || {
        let rollout = kind.hub("a")?["status"]["fleet"]["rollout"].clone();
        ensure!(rollout["version"] == 3 && rollout["stable"] == 3, "{rollout}");
        Ok(())
    })?;
    kind.remove("a")
}
