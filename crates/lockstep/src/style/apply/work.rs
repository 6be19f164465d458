//! The three stages of a picture: read, styled, written.

use std::collections::BTreeMap;
use std::time::Instant;

use ::style::mix::{Rounding, keep_colours, mix, mix_masked};
use ::style::{Precision, StyleBackend};
use ndarray::{Array4, Axis, CowArray, concatenate};
use serde_json::json;

use super::super::content::Content;
use super::{Apply, Style};
use crate::exit::{Failure, Result};
use crate::files::{as_text, make_folder};
use crate::jobs::{Item, Outcome};
use crate::pictures::{self, Layout, Writing, keeps_alpha};
use crate::session::Session;

/// A result, and how it came about.
type Made = (Array4<f32>, How);

/// How a result came about.
#[derive(Clone, Copy)]
struct How {
    /// Its share of the time.
    seconds: f64,
    precision: Precision,
    /// Whether there was no room for the whole picture at once.
    strips: bool,
}

/// A picture that was read.
pub(super) struct Ready {
    content: Content,
    transparent: bool,
    start: Instant,
}

/// A picture to write.
pub(super) struct Styled {
    ready: Ready,
    result: Array4<f32>,
    how: How,
}

impl Styled {
    /// Those of the picture.
    pub(super) fn pixels(&self) -> usize {
        self.ready.content.height * self.ready.content.width
    }
}

impl Apply {
    fn writing(&self) -> Writing {
        Writing { bits: Some(self.bits), quality: Some(self.quality), ..Writing::default() }
    }

    /// Reads a picture.
    pub(super) fn read(&self, session: &Session, item: &Item) -> Result<Ready> {
        let start = Instant::now();
        let picture = pictures::read(&item.inputs[0], Layout::Auto)?;
        if let Some(more) = pictures::beside_the_first(&item.inputs[0]) {
            session.note(format!("{}: {more}; the first one is styled", item.name));
        }
        let content = self.scaled(&item.inputs[0], Content::of(&picture)?)?;
        self.writing().check(&item.output, [1, 3, content.height, content.width], picture.depth)?;
        Ok(Ready { content, transparent: picture.alpha.is_some(), start })
    }

    /// Applies the models to some pictures; those of one size together.
    pub(super) fn styled<B: StyleBackend>(
        &self,
        session: &Session,
        styles: &mut [Style<B>],
        group: Vec<(&Item, Ready)>,
    ) -> Vec<Result<Styled>> {
        let mut sizes: BTreeMap<[usize; 2], Vec<usize>> = BTreeMap::new();
        for (i, (_, ready)) in group.iter().enumerate() {
            sizes.entry([ready.content.height, ready.content.width]).or_default().push(i);
        }
        let mut all: Vec<Option<Result<Made>>> = group.iter().map(|_| None).collect();
        for members in sizes.into_values() {
            let some: Vec<_> = members.iter().map(|&i| (group[i].0, &group[i].1.content)).collect();
            match self.of_one_size(session, styles, &some) {
                Ok(results) => members.iter().zip(results).for_each(|(&i, result)| all[i] = Some(Ok(result))),
                Err(e) => members.iter().for_each(|&i| all[i] = Some(Err(e.clone()))),
            }
        }
        let done = |((_, ready), made): ((&Item, Ready), Option<Result<Made>>)| {
            let (result, how) = made.unwrap_or_else(|| Err(Failure::usage("there is no model")))?;
            Ok(Styled { ready, result, how })
        };
        group.into_iter().zip(all).map(done).collect()
    }

    /// Applies the models to pictures of one size.
    fn of_one_size<B: StyleBackend>(
        &self,
        session: &Session,
        styles: &mut [Style<B>],
        some: &[(&Item, &Content)],
    ) -> Result<Vec<Made>> {
        let computing = Instant::now();
        let views = some.iter().map(|(_, content)| content.view()).collect::<Result<Vec<_>>>()?;
        let together = match views.as_slice() {
            [one] => CowArray::from(*one),
            several => CowArray::from(
                concatenate(Axis(0), several).map_err(|e| Failure::usage(format!("pictures of other sizes: {e}")))?,
            ),
        };
        let mut results: Vec<Option<Array4<f32>>> = some.iter().map(|_| None).collect();
        let precision = styles.first().map_or(Precision::F32, |style| style.engine.precision());
        let mut how = How { seconds: 0.0, precision, strips: false };
        for style in styles {
            let (before, strips) = (style.engine.reruns(), style.engine.strips());
            let styled = style.engine.run(together.view(), self.sides.into())?;
            let names = || some.iter().map(|(item, _)| item.name.as_str()).collect::<Vec<_>>().join(", ");
            if style.engine.reruns() > before {
                how.precision = Precision::F32;
                session.note(format!("{}: computed in f32, since values leave the range of f16", names()));
            }
            if style.engine.strips() > strips {
                how.strips = true;
                session.note(format!("{}: worked on in strips, being larger than the memory", names()));
            }
            let mask = match &style.mask {
                Some(mask) => {
                    let (_, _, h, w) = styled.dim();
                    Some(mask.scaled(h, w)?)
                }
                None => None,
            };
            let each = match some {
                [_] => vec![styled],
                _ => styled.axis_chunks_iter(Axis(0), 1).map(|one| one.to_owned()).collect(),
            };
            for ((styled, result), (_, content)) in each.into_iter().zip(&mut results).zip(some) {
                *result = Some(self.composed(styled, result.take(), content, mask.as_deref())?);
            }
        }
        how.seconds = computing.elapsed().as_secs_f64() / some.len().max(1) as f64;
        let all = results.into_iter().map(|result| Some((result?, how))).collect::<Option<_>>();
        all.ok_or_else(|| Failure::usage("there is no model"))
    }

    /// What a model made of a picture, over what the models before made of it.
    fn composed(
        &self,
        mut styled: Array4<f32>,
        before: Option<Array4<f32>>,
        content: &Content,
        mask: Option<&[f32]>,
    ) -> Result<Array4<f32>> {
        let same = styled.dim() == (1, 3, content.height, content.width);
        if !same && (self.strength < 1.0 || self.original_colors || mask.is_some()) {
            return Err(Failure::usage("--sides raw changes the size, so that nothing can be mixed")
                .help("leave out --sides, or the options that mix"));
        }
        if let Some(samples) = styled.as_slice_mut() {
            if self.original_colors {
                keep_colours(samples, &content.planes);
            }
            // All of the style, everywhere: nothing of what lies below is seen.
            if same && (mask.is_some() || self.strength < 1.0) {
                let mut under = match before {
                    Some(before) => before.into_raw_vec_and_offset().0,
                    None => content.planes.clone(),
                };
                match mask {
                    Some(mask) => mix_masked(&mut under, samples, mask, self.strength),
                    None => mix(&mut under, samples, self.strength),
                }
                samples.copy_from_slice(&under);
            }
        }
        Ok(styled)
    }

    /// Writes a picture.
    pub(super) fn write<B: StyleBackend>(
        &self,
        session: &Session,
        _: &B,
        item: &Item,
        styled: Styled,
    ) -> Result<Outcome> {
        let Styled { ready: Ready { content, transparent, start }, result, how } = styled;
        let rounding = if self.round { Rounding::Nearest } else { Rounding::Truncate };
        let (width, height) = (content.width, content.height);
        let finished = content.finish(&result, self.bits, rounding);
        drop((content, result));
        if let Some(parent) = item.output.parent().filter(|p| !p.as_os_str().is_empty()) {
            make_folder(parent)?;
        }
        let profile = pictures::profile(&item.inputs[0]);
        pictures::write_with(&item.output, &finished, self.writing(), profile.as_deref())?;
        if transparent && !keeps_alpha(&item.output) {
            session.note(format!("{}: transparency is left out", item.name));
        }
        tracing::info!(output = %item.output.display(), seconds = start.elapsed().as_secs_f64(), "styled");
        let value = json!({
            "item": item.name, "output": as_text(&item.output), "width": width, "height": height,
            "seconds": how.seconds, "backend": B::NAME, "precision": how.precision.to_string(), "in_strips": how.strips,
        });
        Ok(Outcome { files: vec![item.output.clone()], value })
    }
}
