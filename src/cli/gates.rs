//! `--feature-gates`, with kro's names and kro's form.

use std::str::FromStr;

/// What is switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// `omit()` may be used in templates.
    pub omit: bool,
}

const NAMES: [&str; 4] =
    ["CELOmitFunction", "InstanceConditionEvents", "InstanceConditionMetrics", "AllAlpha"];

impl FromStr for Gates {
    type Err = String;

    /// `Name=bool,…`; the later entry wins.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut gates = Self::default();
        for entry in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            let (name, value) =
                entry.split_once('=').ok_or_else(|| format!("{entry:?}: write {entry}=true"))?;
            let on = match value.trim() {
                "true" | "True" | "TRUE" | "t" | "T" | "1" => true,
                "false" | "False" | "FALSE" | "f" | "F" | "0" => false,
                other => return Err(format!("{name}: {other:?} is neither true nor false")),
            };
            match name.trim() {
                "CELOmitFunction" | "AllAlpha" => gates.omit = on,
                // What these gates add in kro does not exist here. A start command that names them works all the
                // same.
                "InstanceConditionEvents" | "InstanceConditionMetrics" | "AllBeta" => {}
                other => {
                    return Err(format!("unknown feature gate {other:?}; known are {}", NAMES.join(", ")));
                }
            }
        }
        Ok(gates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_have_kros_names() {
        let omit = |text: &str| text.parse::<Gates>().map(|g| g.omit);
        assert_eq!(omit(""), Ok(false));
        assert_eq!(omit("CELOmitFunction=true"), Ok(true));
        assert_eq!(
            omit("CELOmitFunction=true, InstanceConditionEvents=false,CELOmitFunction=false"),
            Ok(false)
        );
        assert_eq!(omit("AllAlpha=true"), Ok(true));
        for (wrong, why) in
            [("x=true", "unknown feature gate"), ("CELOmitFunction", "write"), ("AllAlpha=yes", "neither")]
        {
            assert!(omit(wrong).unwrap_err().contains(why), "{wrong}");
        }
    }
}
