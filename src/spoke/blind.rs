//! What was listed once, and is answered with refusals since: nothing of it is taken for gone, and nobody sees what changes there.

/// Ticks of an actor until people are told: from 60 to 90 s. A restart of an API server is over sooner.
const LASTS: u8 = 3;

/// Whether a watch is blind. Small where it is not.
#[derive(Debug, Default)]
pub(super) struct Blind(Option<Box<Refused>>);

#[derive(Debug)]
struct Refused {
    why: String,
    ticks: u8,
}

impl Blind {
    /// It was refused. What people were told is not said in other words.
    pub fn refused(&mut self, why: String) {
        match &mut self.0 {
            None => self.0 = Some(Box::new(Refused { why, ticks: 0 })),
            Some(refused) if refused.ticks < LASTS => refused.why = why,
            Some(_) => {}
        }
    }

    /// It sees again; says whether people were told that it did not.
    pub fn sees(&mut self) -> bool {
        self.0.take().is_some_and(|refused| refused.ticks >= LASTS)
    }

    /// Time went by; says whether people are to be told from now on.
    pub fn tick(&mut self) -> bool {
        let Some(refused) = &mut self.0 else { return false };
        refused.ticks = refused.ticks.saturating_add(1);
        refused.ticks == LASTS
    }

    /// While there was no contact, nothing could be seen anyway.
    pub fn count_anew(&mut self) {
        if let Some(refused) = self.0.as_mut().filter(|refused| refused.ticks < LASTS) {
            refused.ticks = 0;
        }
    }

    /// What people are told.
    pub fn told(&self) -> Option<&str> {
        self.0.as_ref().filter(|refused| refused.ticks >= LASTS).map(|refused| &*refused.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lasts_is_told_and_until_it_is_over() {
        let mut blind = Blind::default();
        let tick = |blind: &mut Blind| (blind.tick(), blind.told().map(str::to_owned));
        assert_eq!(tick(&mut blind), (false, None));
        blind.refused("one".into());
        assert_eq!((tick(&mut blind), tick(&mut blind)), ((false, None), (false, None)));
        assert!(!blind.sees(), "it is over before anybody heard of it");
        blind.refused("one".into());
        assert_eq!((tick(&mut blind), tick(&mut blind)), ((false, None), (false, None)));
        blind.count_anew();
        assert_eq!((tick(&mut blind), tick(&mut blind)), ((false, None), (false, None)));
        blind.refused("two".into());
        assert_eq!(tick(&mut blind), (true, Some("two".into())));
        blind.refused("three".into());
        blind.count_anew();
        assert_eq!(tick(&mut blind), (false, Some("two".into())), "it is said once");
        assert!(blind.sees());
        assert_eq!(tick(&mut blind), (false, None));
    }
}
