//! The settings file: TOML, its keys the names of the flags, as in `send-rate = 20`. What a flag or a variable says holds
//! before it.

use clap::{ArgMatches, Command, Parser, error::ErrorKind, parser::ValueSource};
use std::{ffi::OsString, path::PathBuf};
use toml::{Table, Value};

/// The flag that names the file.
const FLAG: &str = "config";

/// Parses this process's arguments and variables, and the file that `--config` names; says what is wrong, and exits.
#[must_use]
pub fn parse<P: Parser>() -> P {
    parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

fn parse_from<P: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<P, clap::Error> {
    let mut arguments: Vec<_> = arguments.into_iter().collect();
    // What is wrong with the rest is said by the parse below.
    let found = P::command().ignore_errors(true).try_get_matches_from(&arguments);
    if let Ok(matches) = &found {
        let (mut command, mut matches) = (P::command(), matches);
        while let Some((name, inner)) = matches.subcommand() {
            command = command.find_subcommand(name).cloned().unwrap_or(command);
            matches = inner;
        }
        arguments.extend(from_file(&command, matches)?);
    }
    P::try_parse_from(arguments)
}

/// What the file adds: flags that are given neither as such nor as variables.
fn from_file(command: &Command, matches: &ArgMatches) -> Result<Vec<OsString>, clap::Error> {
    let path = matches.try_get_one::<PathBuf>(FLAG).ok().flatten();
    let Some(path) = path else { return Ok(Vec::new()) };
    let wrong = |why: String| clap::Error::raw(ErrorKind::Io, format!("--config {}: {why}\n", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
    let mut more = Vec::new();
    for (key, value) in table {
        let argument = command.get_arguments().find(|argument| argument.get_long() == Some(&key));
        let Some(argument) = argument.filter(|_| key != FLAG) else {
            return Err(wrong(format!("there is no setting `{key}`: --help lists them, without the dashes")));
        };
        let said = matches.value_source(argument.get_id().as_str());
        if matches!(said, None | Some(ValueSource::DefaultValue)) {
            let value = word(&value).ok_or_else(|| wrong(format!("`{key}` must be a word, a number or a list")))?;
            more.push(format!("--{key}={value}").into());
        }
    }
    Ok(more)
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Array(values) => Some(values.iter().map(word).collect::<Option<Vec<_>>>()?.join(",")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Sub,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Sub {
        Serve {
            #[arg(long)]
            config: Option<PathBuf>,
            #[command(flatten)]
            settings: Settings,
            #[arg(long, value_delimiter = ',')]
            node: Vec<String>,
        },
    }

    fn with(text: &str, flags: &[&str]) -> Result<(Settings, Vec<String>), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("madang.toml");
        std::fs::write(&path, text).unwrap();
        let arguments = ["madang", "serve", "--config", path.to_str().unwrap()];
        let cli = parse_from::<Cli>(arguments.iter().chain(flags).map(OsString::from));
        let Sub::Serve { settings, node, .. } = cli.map_err(|error| error.to_string())?.command;
        Ok((settings, node))
    }

    #[test]
    fn a_flag_holds_before_the_file_and_the_file_before_the_default() {
        let text = "send-rate = 20\nsend-burst = 50\nnode = [\"a:1\", \"b:2\"]";
        let (settings, nodes) = with(text, &["--send-rate", "30"]).unwrap();
        assert_eq!((settings.send_rate, settings.send_burst, settings.max_members), (30, 50, 200));
        assert_eq!(nodes, ["a:1", "b:2"]);
        assert_eq!(with(text, &["--node", "c:3"]).unwrap().1, ["c:3"]);
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        for (text, named) in [
            ("sendrate = 20", "sendrate"),
            ("send-rate = 1.5", "send-rate"),
            ("send-rate = \"fast\"", "--send-rate"),
            ("send-rate", "line 1"),
            ("max-members = 100000", "--max-members"),
        ] {
            let error = with(text, &[]).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
        let missing = parse_from::<Cli>(["madang", "serve", "--config", "/nowhere.toml"].map(OsString::from));
        assert!(missing.unwrap_err().to_string().contains("/nowhere.toml"));
    }
}
