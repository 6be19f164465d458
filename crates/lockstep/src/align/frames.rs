//! The pictures of a scene, as many of them in memory as it holds.

use std::borrow::Cow;
use std::path::PathBuf;

use ::align::raw::ApartReader;
use ::align::{BlackLevel, Limits, RawFrame, RawReader};

/// The pictures of a scene that can be used. Those whose pixels were given back are read again when somebody looks at
/// them.
pub(crate) struct Frames {
    known: Vec<RawFrame>,
    paths: Vec<PathBuf>,
    reader: ApartReader,
    /// All positions have the black level of the first.
    one_black: bool,
}

impl Frames {
    /// Pictures that were read from `paths`, and `reader`, which may read them again.
    pub(crate) fn new(frames: Vec<RawFrame>, paths: Vec<PathBuf>, reader: ApartReader) -> Self {
        Self { known: frames, paths, reader, one_black: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// What is known of a picture beside its pixels.
    pub(crate) fn about(&self, i: usize) -> &RawFrame {
        &self.known[i]
    }

    /// The first picture, with its pixels.
    pub(crate) fn first(&self) -> Option<&RawFrame> {
        self.known.first()
    }

    /// A picture with its pixels.
    pub(crate) fn get(&self, i: usize) -> ::align::Result<Cow<'_, RawFrame>> {
        let frame = &self.known[i];
        if !frame.mosaic.is_empty() {
            return Ok(Cow::Borrowed(frame));
        }
        let mut again = self.reader.read(&self.paths[i], &Limits::default())?;
        if self.one_black {
            level_black(&mut again);
        }
        // The file may be another one by now.
        if let Some(first) = self.first() {
            first.fits(&again)?;
        }
        Ok(Cow::Owned(again))
    }

    /// Gives all positions the black level of the first.
    pub(crate) fn level_black(&mut self) {
        self.known.iter_mut().for_each(level_black);
        self.one_black = true;
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // The next scene's pictures get their memory.
        self.known.drain(..).for_each(|frame| self.reader.reuse(frame.mosaic));
    }
}

fn level_black(frame: &mut RawFrame) {
    frame.black = BlackLevel::uniform(frame.cfa.period(), frame.black.at(0, 0));
}
