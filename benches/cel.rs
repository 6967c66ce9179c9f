//! Expressions: ours, beside the bare crate `cel`, and beside cel-go with kro's environment.
//!
//! The Go program is built where `go` is; KRO_HUB_BENCH_CEL_GO names one that is there already. Without either, its
//! column is absent, and that is said.

#![allow(clippy::expect_used)] // What fails ends the measurement.

use criterion::{BenchmarkId, Criterion};
use kro_hub::cel::{Budget, Decls, EXPRESSION_STEPS, Program, Scope};
use serde_json::{Value as Json, json};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const CASES: [(&str, &str); 4] = [
    ("name", r#"schema.spec.name + "-" + string(schema.spec.replicas)"#),
    ("map of 1000: a field", "schema.spec.items.map(i, i.metadata.name)"),
    ("map of 1000: a text", r#"schema.spec.items.map(i, i.metadata.name + "-" + string(i.spec.port))"#),
    ("map of 1000: an object", r#"schema.spec.items.map(i, {"name": i.metadata.name, "port": i.spec.port})"#),
];

fn schema() -> Json {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "name": {"type": "string"},
        "replicas": {"type": "integer"},
        "items": {"type": "array", "items": {"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {
                "name": {"type": "string"}, "namespace": {"type": "string"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}}}},
            "spec": {"type": "object", "properties": {"port": {"type": "integer"}, "host": {"type": "string"}}},
        }}},
    }}}})
}

fn data() -> Json {
    let item = |i: usize| {
        json!({
            "metadata": {"name": format!("item-{i}"), "namespace": "default", "labels": {"app": "web"}},
            "spec": {"port": 8000 + i, "host": format!("{i}.example.org")},
        })
    };
    let items: Vec<Json> = (0..1000).map(item).collect();
    json!({"spec": {"name": "web", "replicas": 3, "items": items}})
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut go = CelGo::start();
    let schema = schema();
    let data = data();
    let mut decls = Decls::new();
    decls.declare_schema("schema", &schema);
    let mut scope = Scope::new();
    if let Some(t) = decls.get("schema") {
        scope.bind_typed("schema", &data, t);
    }
    let mut context = cel::Context::default();
    context.add_variable("schema", &data).expect("JSON is a value of the crate");

    let mut group = criterion.benchmark_group("check and lower");
    for (n, (name, source)) in CASES.into_iter().enumerate() {
        let checked = || Program::compile_typed(black_box(source), &decls).expect("the case is right");
        group.bench_function(BenchmarkId::new("kro-hub", name), |b| b.iter(checked));
        // It has no type checker: this is parsing alone.
        let parsed = || cel::Program::compile(black_box(source)).expect("the case is right");
        group.bench_function(BenchmarkId::new("crate cel (parses only)", name), |b| b.iter(parsed));
        if let Some(go) = &mut go {
            let id = BenchmarkId::new("cel-go with kro", name);
            group.bench_function(id, |b| b.iter_custom(|count| go.time("check", n, count)));
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("evaluate");
    for (n, (name, source)) in CASES.into_iter().enumerate() {
        let (program, _) = Program::compile_typed(source, &decls).expect("the case is right");
        let budget = Budget::new(EXPRESSION_STEPS, u64::MAX);
        let evaluated = || program.eval(black_box(&scope), &budget).expect("the case is right");
        group.bench_function(BenchmarkId::new("kro-hub", name), |b| b.iter(evaluated));
        let bare = cel::Program::compile(source).expect("the case is right");
        let evaluated = || bare.execute(black_box(&context)).expect("the case is right");
        group.bench_function(BenchmarkId::new("crate cel", name), |b| b.iter(evaluated));
        if let Some(go) = &mut go {
            let id = BenchmarkId::new("cel-go with kro", name);
            group.bench_function(id, |b| b.iter_custom(|count| go.time("eval", n, count)));
        }
    }
    group.finish();

    // Once for each object and reconcile, so that the many expressions over it need not.
    let mut group = criterion.benchmark_group("bind");
    let t = decls.get("schema").cloned().unwrap_or(kro_hub::cel::Type::Dyn);
    group.bench_function("kro-hub/an object of 1000 items", |b| {
        b.iter_with_large_drop(|| kro_hub::cel::Bound::typed(black_box(&data), &t));
    });
    group.finish();
    criterion.final_summary();
}

/// The Go program, waiting for work.
struct CelGo {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl CelGo {
    fn start() -> Option<Self> {
        match program().and_then(|path| Self::run(&path)) {
            Ok(started) => Some(started),
            Err(why) => {
                eprintln!("not beside cel-go: {why}");
                None
            }
        }
    }

    fn run(path: &Path) -> Result<Self, String> {
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut child =
            Command::new(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let (Some(mut to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("it has no streams".to_owned());
        };
        let sources: Vec<&str> = CASES.into_iter().map(|(_, source)| source).collect();
        let input = json!({"schemas": {"schema": schema()}, "data": {"schema": data()}, "sources": sources});
        writeln!(to, "{input}").map_err(failed)?;
        let mut started = Self { child, to, from: BufReader::new(from) };
        started.ask("eval", 0, 1).ok_or_else(|| format!("{} gives no answer", path.display()))?;
        Ok(started)
    }

    fn ask(&mut self, what: &str, case: usize, count: u64) -> Option<Duration> {
        writeln!(self.to, "{what} {case} {count}").ok()?;
        let mut line = String::new();
        self.from.read_line(&mut line).ok()?;
        line.trim().parse().ok().map(Duration::from_nanos)
    }

    fn time(&mut self, what: &str, case: usize, count: u64) -> Duration {
        self.ask(what, case, count).expect("the Go program has answered before")
    }
}

impl Drop for CelGo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The path of the program: the one that is named, or one built now.
fn program() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("KRO_HUB_BENCH_CEL_GO") {
        return Ok(PathBuf::from(path));
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/cel-go");
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cel-go");
    let begin = Instant::now();
    eprintln!("building {} …", source.display());
    let done = Command::new("go").arg("build").arg("-o").arg(&built).arg(".").current_dir(&source).status();
    match done {
        Ok(status) if status.success() => {
            eprintln!("built in {} s", begin.elapsed().as_secs());
            Ok(built)
        }
        Ok(status) => Err(format!("`go build` in {}: {status}", source.display())),
        Err(error) => Err(format!("`go` is needed, or KRO_HUB_BENCH_CEL_GO: {error}")),
    }
}
