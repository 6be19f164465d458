//! `lockstep align …`: one file a subcommand.

mod ahead;
mod apply;
mod args;
mod check;
pub(crate) mod drawing;
pub(crate) mod drawn;
mod frames;
mod masks;
mod pair;
mod queue;
mod record;
mod report;
mod run;
mod scan;
mod selftest;
mod work;

use std::path::{Path, PathBuf};

use ::align::Error;
use ::align::raw::ApartReader;
use clap::Subcommand;

use crate::exit::{Exit, Failure, Result};
use crate::session::Session;

/// Subcommands of `align`.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List the scenes of a data set, their files and cameras, without decoding pixels
    Scan(scan::Scan),
    /// Align all scenes of a data set; write shifts, masks, descriptor and report
    Run(Box<run::Run>),
    /// Align one ground truth with some pictures
    Pair(pair::Pair),
    /// Cut pictures to what they have in common
    Apply(apply::Apply),
    /// Compare a descriptor with what `run` found
    Check(check::Check),
    /// Align synthetic scenes with known shifts and print the errors
    Selftest(selftest::Selftest),
    /// Read files for another process of this program
    #[command(hide = true)]
    ReadFiles,
}

impl Command {
    /// Runs the subcommand.
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        match self {
            Self::Scan(c) => c.run(session),
            Self::Run(c) => c.run(session),
            Self::Pair(c) => c.run(session),
            Self::Apply(c) => c.run(session),
            Self::Check(c) => c.run(session),
            Self::Selftest(c) => c.run(session),
            Self::ReadFiles => {
                let failed = |e| Failure::new(Exit::Io, format!("cannot answer: {e}"));
                ::align::raw::serve(&mut std::io::stdin().lock(), &mut std::io::stdout().lock()).map_err(failed)?;
                Ok(Exit::Ok)
            }
        }
    }
}

/// Reads files with this program in other processes: nothing that a file contains may end a run.
pub(crate) fn reader() -> Result<ApartReader> {
    let program = std::env::current_exe()
        .map_err(|e| Failure::new(Exit::Io, format!("cannot find this program's file, which reads pictures: {e}")))?;
    Ok(ApartReader::new(program, ["align", "read-files"]))
}

/// A root must be a folder.
pub(crate) fn check_root(root: &Path) -> Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    if root.exists() {
        return Err(Failure::input(root, "it is no folder")
            .help("name the folder of a data set or of a scene; single pictures are for `align pair`"));
    }
    Err(Failure::reading(root, &std::io::Error::from(std::io::ErrorKind::NotFound)))
}

/// Says which folders with files are no scenes.
pub(crate) fn no_scenes(folders: &[PathBuf]) -> String {
    let shown: Vec<_> = folders.iter().take(5).map(|folder| folder.display().to_string()).collect();
    let more = folders.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("left out, since they have no folder gt: {}{more}", shown.join(", "))
}

/// Refuses a file that records cannot name: they are UTF-8.
pub(crate) fn named(path: &Path) -> ::align::Result<()> {
    match path.to_str() {
        Some(_) => Ok(()),
        None => Err(Error::Unsupported {
            path: path.to_owned(),
            why: "its name is no UTF-8 text, which records must be; rename the file".to_owned(),
        }),
    }
}

/// Paths for documents.
pub(crate) fn texts(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(crate::files::as_text).collect()
}

/// What is said of a file behind its name and its state.
pub(crate) fn bare<'a>(path: &Path, reason: &'a str) -> &'a str {
    let bare = reason.strip_prefix(&path.display().to_string()).and_then(|rest| rest.strip_prefix(": "));
    let bare = bare.unwrap_or(reason);
    ["damaged: ", "not supported: ", "cannot be read: "]
        .into_iter()
        .find_map(|state| bare.strip_prefix(state))
        .unwrap_or(bare)
}

impl From<::align::Error> for Failure {
    fn from(error: ::align::Error) -> Self {
        match error {
            ::align::Error::Gpu(error) => error.into(),
            ::align::Error::Missing { .. } | ::align::Error::Unreadable { .. } => {
                Self::new(Exit::Io, error.to_string())
            }
            other => Self::usage(other.to_string()),
        }
    }
}
