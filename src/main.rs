//! The `ringway` command: one match from what was asked for to what does it.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use ringway::cli::{self, Cli, Command, Demo, Generated, Run, summary};
use ringway::config::{self, Checked, Config, Problems};
use ringway::demo;
use tracing::level_filters::LevelFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log.into());
    let result = match cli.command {
        Command::Run(run) => run.checked().map_err(Failure::Problems).and_then(|checked| {
            warn(&checked);
            serve(checked.config, run).map_err(Failure::Error)
        }),
        Command::Demo(demo) => demonstrate(&demo).map_err(Failure::Error),
        Command::Check(check) => config::load(&check.config).map_err(Failure::Problems).map(|c| {
            warn(&c);
            print(&summary(&c.config));
        }),
        Command::Schema => {
            print(&config::schema());
            Ok(())
        }
        Command::Manual(manual) => write(&manual.folder).map_err(Failure::Error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Problems(Problems),
    Error(Box<dyn Error>),
}

impl Failure {
    fn print(&self) {
        match self {
            Self::Problems(problems) => {
                eprintln!("{problems}");
                if let count @ 2.. = problems.0.len() {
                    eprintln!("{count} problems");
                }
            }
            Self::Error(error) => eprintln!("{error}"),
        }
    }
}

fn serve(config: Config, run: Run) -> Result<(), Box<dyn Error>> {
    let file = run.config.clone();
    let again = Arc::new(move || run.checked());
    Ok(ringway::supervisor::run(config, file.as_deref(), Some(again), |_| ())?)
}

fn demonstrate(asked: &Demo) -> Result<(), Box<dyn Error>> {
    let servers = demo::start()?;
    let config = Config { engine: asked.engine.into(), ..demo::config(&asked.listen, &servers) };
    Ok(ringway::supervisor::run(config, None, None, |bound| {
        let [(_, address), ..] = bound else { return };
        print(&demo::banner(address, &servers));
    })?)
}

fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    for Generated { path, text } in cli::manual()? {
        let path = folder.join(path);
        let written = std::fs::create_dir_all(path.parent().unwrap_or(folder))
            .and_then(|()| std::fs::write(&path, text));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn start_log(level: LevelFilter) {
    tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(false).init();
}

fn warn(checked: &Checked) {
    for warning in &checked.warnings {
        eprintln!("warning: {warning}");
    }
}

/// Whoever reads may stop reading (`ringway schema | head`): that is not a failure.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let line_end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(out, "{text}{line_end}").and_then(|()| out.flush());
}
