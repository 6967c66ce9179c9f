//! docs/cel.md.

use crate::cel::docs::{self, Form};

const INTRODUCTION: &str = include_str!("page.md");

pub(super) fn text() -> String {
    let mut out = INTRODUCTION.trim_end().to_owned();
    out.push_str(
        "\n\n## Macros\n\nTheir arguments are expressions, evaluated for each element, or not at all.\n\n",
    );
    table(&mut out, &docs::macros());
    out.push_str(
        "\n## Functions\n\nCapital letters stand for any type, the same letter for the same type.\n",
    );
    let sections = docs::sections();
    for section in &sections {
        out.push_str(&format!("\n### {}\n\n", section.title));
        if section.kro_only {
            out.push_str(KRO);
        }
        table(&mut out, &section.functions);
    }
    out.push_str(OPT_IN);
    for section in docs::opt_in() {
        out.push_str(&format!("\n### {}\n\n", section.title));
        table(&mut out, &section.functions);
    }
    out.push_str(
        "\n## Limits\n\nCounted, not timed: an answer does not depend on how busy the machine is.\n\n",
    );
    out.push_str("| at most | |\n|---|---|\n");
    for (limit, what) in docs::limits() {
        out.push_str(&format!("| {limit} | {what} |\n"));
    }
    out.push_str(ABSENT);
    out
}

const KRO: &str = "No other CEL has these: an expression that uses one runs with kro and here only.\n\n";

const OPT_IN: &str = "
## Libraries on demand

kro does not have these. A definition that wants them says so, and is not portable to kro then:
annotation `hub.kro.run/cel-libraries: \"math,sets\"`.
";

const ABSENT: &str = "
## What there is not

As with kro, `format.*`, protobuf messages of your own, cel-go's own regular expressions, Kubernetes' authorizer
and JSON patches, and `semver` with two arguments are not there: a definition that is accepted here is portable to kro.
No library has to be switched on, and none can be; only `omit()` stands behind kro's feature gate `CELOmitFunction`.
";

fn table(out: &mut String, forms: &[Form]) {
    let with_result = forms.iter().any(|f| !f.result.is_empty());
    out.push_str(if with_result { "| | gives | |\n|---|---|---|\n" } else { "| | |\n|---|---|\n" });
    for form in forms {
        let written = form.form.replace('|', "\\|");
        let result = if with_result { format!(" `{}` |", form.result) } else { String::new() };
        out.push_str(&format!("| `{written}` |{result} {} |\n", form.doc));
    }
}
