//! What is made of the command line and the schema: man pages, and completions for shells.
//!
//! Nothing is written down here twice: a command, a flag or a key that is new is in all of it.

use std::io;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Cli, keys};

/// One file, to be written below a folder of the caller's.
pub struct Generated {
    /// Such as `man/man1/ringway-run.1`.
    pub path: String,
    /// All of it.
    pub text: Vec<u8>,
}

/// All of them: a page for each command, one for the configuration, and a file for each shell.
///
/// # Errors
/// None but those of writing to memory.
pub fn files() -> io::Result<Vec<Generated>> {
    let mut files = Vec::new();
    let mut all = shown().disable_help_subcommand(true);
    all.build();
    pages(&all, &mut files)?;
    let path = format!("man/man5/{}.5", keys::NAME);
    files.push(Generated { path, text: keys::page()? });
    for (shell, path) in [
        (Shell::Bash, "bash/ringway"),
        (Shell::Zsh, "zsh/_ringway"),
        (Shell::Fish, "fish/ringway.fish"),
    ] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut shown(), "ringway", &mut text);
        files.push(Generated { path: path.to_owned(), text });
    }
    Ok(files)
}

/// The command line without what is hidden; completions would offer that too.
fn shown() -> Command {
    let all = Cli::command();
    let commands = all.get_subcommands().filter(|command| !command.is_hide_set());
    Command::new("ringway")
        .version(env!("CARGO_PKG_VERSION"))
        .about(all.get_about().cloned().unwrap_or_default())
        .long_about(all.get_long_about().cloned().unwrap_or_default())
        .after_help(all.get_after_help().cloned().unwrap_or_default())
        .subcommand_required(true)
        .args(all.get_arguments())
        .subcommands(commands)
}

/// The page of a command, and those of the commands below it.
fn pages(command: &Command, files: &mut Vec<Generated>) -> io::Result<()> {
    let man = Man::new(command.clone()).date(keys::NO_DATE).source(keys::SOURCE).manual("ringway");
    let commands = || command.get_subcommands().filter(|command| !command.is_hide_set());
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if commands().next().is_some() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut rest = Roff::new();
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        as_it_stands(&after.to_string(), &mut rest);
    }
    rest.control("SH", ["SEE ALSO"]);
    rest.text([bold("ringway"), roman("(1), "), bold(keys::NAME), roman("(5)")]);
    rest.to_writer(&mut text)?;
    files.push(Generated { path: format!("man/man1/{}", man.get_filename()), text });
    commands().try_for_each(|command| pages(command, files))
}

/// `Examples:` is the head of a section, and the lines below it stay lines.
fn as_it_stands(text: &str, roff: &mut Roff) {
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_suffix(':') {
            Some(head) if !line.starts_with(' ') => {
                roff.control("SH", [head.to_uppercase().as_str()]);
                // The head of a section fills lines again.
                roff.control("nf", []);
            }
            _ => {
                roff.text([roman(line)]);
            }
        }
    }
    roff.control("fi", []);
}
