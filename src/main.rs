//! The `ringway` command: one match from what was asked for to what does it.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use ringway::cli::{self, Cli, Command, Demo, Doctor, Generated, Run, summary};
use ringway::config::{self, AccessLog, Checked, Config, LogFormat, Problems};
use ringway::doctor::{self, State};
use ringway::supervisor::{Given, SetLevel};
use ringway::{demo, log};

fn main() -> ExitCode {
    let mut cli = Cli::parse();
    let format = cli.log_format.map(LogFormat::from);
    let set_level = Arc::new(log::start(cli.log.into(), format.unwrap_or_default()));
    if let Command::Run(run) = &mut cli.command {
        run.log_format = cli.log_format;
    }
    let result = match cli.command {
        Command::Run(run) => run.checked().map_err(Failure::Problems).and_then(|checked| {
            warn(&checked);
            serve(checked.config, run, set_level).map_err(Failure::Error)
        }),
        Command::Demo(demo) => demonstrate(&demo, format, set_level).map_err(Failure::Error),
        Command::Check(check) => config::load(&check.config).map_err(Failure::Problems).map(|c| {
            warn(&c);
            print(&summary(&c.config));
        }),
        Command::Top(top) => return ExitCode::from(ringway::top::run(&top) as u8),
        Command::Ctl(ctl) => return ExitCode::from(ringway::ctl::run(&ctl) as u8),
        Command::Doctor(asked) => return diagnose(&asked),
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

fn serve(config: Config, run: Run, set_level: SetLevel) -> Result<(), Box<dyn Error>> {
    let file = run.config.clone();
    let again = Arc::new(move |text: Option<&str>| match text {
        Some(text) => run.checked_text(text),
        None => run.checked(),
    });
    let given = Given { file, again: Some(again), set_level: Some(set_level) };
    Ok(ringway::supervisor::run(config, given, |_| ())?)
}

fn demonstrate(
    asked: &Demo,
    format: Option<LogFormat>,
    set_level: SetLevel,
) -> Result<(), Box<dyn Error>> {
    let servers = demo::start()?;
    let access_log = AccessLog { format: format.unwrap_or_default(), ..AccessLog::default() };
    let config = Config {
        engine: asked.engine.into(),
        access_log: Some(access_log),
        ..demo::config(&asked.listen, &servers, asked.admin.clone())
    };
    let given = Given { set_level: Some(set_level), ..Given::default() };
    Ok(ringway::supervisor::run(config, given, |bound| {
        let [(_, address), ..] = &*bound.listeners else { return };
        let admin = bound.admin.as_ref().expect("the demo has an admin endpoint");
        print(&demo::banner(address, &servers, admin));
    })?)
}

/// Exit code 1 where something will not work.
fn diagnose(asked: &Doctor) -> ExitCode {
    let checked = match asked.config.as_deref().map(config::load).transpose() {
        Ok(checked) => checked,
        Err(problems) => {
            Failure::Problems(problems).print();
            return ExitCode::FAILURE;
        }
    };
    let report = doctor::examine(checked.as_ref().map(|checked| &checked.config));
    if asked.json {
        print(&format!("{:#}", report.json()));
    } else {
        print(&report.to_string());
    }
    ExitCode::from(u8::from(report.state() == State::Broken))
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
