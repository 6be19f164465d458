//! `lockstep style …`: one file a subcommand.

mod apply;
mod bench;
mod content;
mod convert;
mod frames;
mod info;
mod library;
mod models;
mod pipe;
mod pixels;
mod video;

pub(crate) use content::Content;
pub(crate) use library::{Strictness, find, load};

use clap::Subcommand;

use crate::exit::{Exit, Failure, Result};
use crate::session::Session;

/// Subcommands of `style`.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Stylise a picture, or a folder of them
    Apply(Box<apply::Apply>),
    /// Stylise a video (with ffmpeg)
    Video(Box<video::Video>),
    /// Stylise frames from standard input to standard output
    Pipe(Box<pipe::Pipe>),
    /// List the models that can be named
    Models(models::Models),
    /// What a weight file holds
    Info(info::Info),
    /// Write a weight file as safetensors with canonical names
    Convert(convert::Convert),
    /// Measure the speed
    Bench(bench::Bench),
}

impl Command {
    /// Runs the subcommand.
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        match self {
            Self::Apply(c) => c.run(session),
            Self::Models(c) => c.run(session),
            Self::Info(c) => c.run(session),
            Self::Video(c) => c.run(session),
            Self::Pipe(c) => c.run(session),
            Self::Convert(c) => c.run(session),
            Self::Bench(c) => c.run(session),
        }
    }
}

impl From<::style::Error> for Failure {
    fn from(error: ::style::Error) -> Self {
        match error {
            ::style::Error::Gpu(error @ gpu_core::Error::OutOfMemory { .. }) => Self::from(error)
                .help("give a larger --memory, a smaller --size, or a smaller --batch; the picture and its result must fit"),
            ::style::Error::Gpu(error) => error.into(),
            ::style::Error::NoStrips { .. } => Self::new(Exit::Memory, error.to_string()).help(
                "give a larger --memory, a smaller --size, or another --model: candy16, like every convolutional network, \
                works in strips",
            ),
            other => Self::usage(other.to_string()),
        }
    }
}
