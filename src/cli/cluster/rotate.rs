//! `kro-hub cluster rotate`

use super::add::Token;
use super::{Both, print};
use crate::access::Account;
use crate::edge::clusters::rotate;
use clap::Args as ClapArgs;
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The Cluster
    #[arg(value_name = "NAME")]
    name: String,
    /// secret lasts until it is deleted; bound ends by itself
    #[arg(long, value_enum, default_value = "secret")]
    token: Token,
    #[command(flatten)]
    both: Both,
}

/// A new token, tried, swapped; once the controller has connected by it the old ones are deleted.
pub fn run(args: Args) -> ExitCode {
    args.both.connecting().run(move || async move {
        let person = args.both.connecting().person()?;
        let hub = args.both.hub(&person).await?;
        let cluster = hub.known(&args.name).await?;
        let spoke = args.both.spoke(&person).await?;
        let gone = rotate(&hub, &spoke, &cluster, &Account::on_spoke(), args.token.into()).await?;
        let fine = if super::plain() { "+" } else { "✓" };
        let old = match gone.as_slice() {
            [] => "no older token was there".to_owned(),
            names => format!("deleted on {}: {}", spoke.name, names.join(", ")),
        };
        print(&format!("{fine} new token   {fine} Cluster {} Ready by it   {old}\n", args.name));
        Ok(ExitCode::SUCCESS)
    })
}
