//! Pictures that are larger than the memory: activations lie in scratch files, and a layer reads and writes some rows at a
//! time.
//!
//! The bands that a layer is cut into, what each of them reads and the tree in which their statistics merge are those of the
//! whole picture, so that the result has the same bits.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use crate::cpu::buffer::pad;
use crate::cpu::conv::Conv;
use crate::cpu::moments::{Affine, Moments};
use crate::cpu::network::{Arena, CENTRE, EPSILON, Input, Network, block_end, centred};
use crate::cpu::pack::{Border, Deferred, Image, Source, finish};
use crate::spill::Spill as Rows;

/// An activation.
type Spill = Rows<f32>;

/// Rows that are read beside those that a band needs: tiles reach over the last row, to rows that are mirrored.
const MARGIN: usize = 8;

/// Where activations go, and how much of them is in memory at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strips {
    /// A folder for scratch files; about 200 bytes a pixel of a network 32 wide lie there while a picture is worked on.
    pub folder: PathBuf,
    /// Bytes of activations in memory. One band of a layer is worked on in any case.
    pub bytes: usize,
}

/// What a layer reads.
enum Feed<'a> {
    Picture(Source<'a>),
    Raw { data: &'a mut Spill, skip: Option<&'a mut Spill>, end: Deferred<'a> },
}

fn raw<'a>(data: &'a mut Spill, skip: Option<&'a mut Spill>, end: Deferred<'a>) -> Feed<'a> {
    Feed::Raw { data, skip, end }
}

/// Rows of the source that output rows need, with a margin, inside the image.
fn reads(rows: &Range<usize>, height: usize, [scale, stride, kernel, padding]: [usize; 4]) -> Range<usize> {
    let (start, end) = (rows.start / scale, rows.end.div_ceil(scale));
    let low = (start * stride).saturating_sub(padding + MARGIN);
    let high = (end.saturating_sub(1) * stride + kernel + MARGIN).saturating_sub(padding);
    low..high.min(height)
}

/// Buffers for the rows at hand.
#[derive(Default)]
struct Hand {
    data: Vec<f32>,
    skip: Vec<f32>,
    out: Vec<f32>,
    keep: Vec<f32>,
}

impl Hand {
    /// Reads the rows of a layer's input, and gives them as an image.
    fn image<'a, 'f: 'a>(
        &'a mut self,
        from: &mut Feed<'f>,
        rows: Range<usize>,
        channels: usize,
        [height, width]: [usize; 2],
        border: Border,
    ) -> io::Result<(Image<'a>, &'a mut Vec<f32>, &'a mut Vec<f32>)> {
        let Self { data: here, skip: beside, out, keep } = self;
        let (source, first) = match from {
            Feed::Picture(source) => (*source, 0),
            Feed::Raw { data, skip, end } => {
                data.read(rows.clone(), here)?;
                let skip = match skip {
                    Some(skip) => {
                        skip.read(rows.clone(), beside)?;
                        Some(beside.as_slice())
                    }
                    None => None,
                };
                (Source::Raw { data: here, skip, deferred: *end }, rows.start)
            }
        };
        Ok((Image { source, channels, height, width, border, first }, out, keep))
    }
}

impl Network {
    /// One layer, some bands at a time; gives its norm.
    fn layer_in_strips(
        &self,
        arena: &mut Arena,
        index: usize,
        strips: &Strips,
        size: [usize; 2],
        mut from: Feed<'_>,
        to: &mut Spill,
        mut keep: Option<&mut Spill>,
    ) -> io::Result<Affine> {
        let layer = &self.layers[index];
        let geometry = *layer.conv.geometry();
        let bands = layer.conv.bands(size[0], size[1]);
        let mut parts = vec![Moments::default(); bands.count() * bands.padded];
        let scale = if geometry.upsample { 2 } else { 1 };
        let reach = [scale, geometry.stride[0], geometry.kernel[0], geometry.padding];
        // Input, skip and output of a band, and what is kept of it.
        let row = bands.width * bands.padded + 3 * size[1] * pad(geometry.cin);
        let each = (strips.bytes / (4 * row * bands.rows).max(1)).clamp(1, bands.count());
        let mut hand = Hand::default();
        for first in (0..bands.count()).step_by(each) {
            let some = first..bands.count().min(first + each);
            let rows = some.start * bands.rows..bands.height.min(some.end * bands.rows);
            let read = reads(&rows, size[0], reach);
            let (image, out, kept) = hand.image(&mut from, read.clone(), geometry.cin, size, geometry.border())?;
            out.resize(rows.len() * bands.width * bands.padded, 0.0);
            let parts = &mut parts[some.start * bands.padded..some.end * bands.padded];
            let by_conv = matches!(layer.conv, Conv::Winograd(..)) && keep.is_some();
            if keep.is_some() {
                kept.resize(rows.len() * size[1] * pad(geometry.cin), 0.0);
            }
            let into = by_conv.then_some(kept.as_mut_slice());
            layer.conv.some(&image, &bands, some.start, out, into, parts, &arena.pool);
            if let Some(keep) = keep.as_deref_mut() {
                if let (Source::Raw { data, skip, deferred }, false) = (image.source, by_conv) {
                    let wide = size[1] * pad(geometry.cin);
                    let inner = (rows.start - read.start) * wide..(rows.end - read.start) * wide;
                    let skip = skip.map(|skip| &skip[inner.clone()]);
                    finish(kept, &data[inner], skip, &deferred, pad(geometry.cin));
                }
                keep.write(rows.start, kept)?;
            }
            to.write(rows.start, out)?;
        }
        let (mut moments, count) = bands.merge(&parts);
        arena.history.next(index, &mut moments, count);
        Ok(Affine::new(&moments, count, &layer.gamma, &layer.beta, EPSILON))
    }

    /// The whole network on one picture; the twin of the way through memory.
    pub(super) fn image_in_strips(
        &self,
        arena: &mut Arena,
        strips: &Strips,
        input: Input<'_>,
        size: [usize; 2],
        picture: super::last::Picture<'_>,
    ) -> io::Result<()> {
        arena.pool.prepare();
        arena.times.clear();
        let [a, b, c] = [1, 2, 4].map(|n| pad(n * self.width));
        let half = size.map(|n| n.div_ceil(2));
        let quarter = half.map(|n| n.div_ceil(2));
        let source = match input {
            Input::Planes(x) => Source::Planes(x, CENTRE),
            Input::Rgb(x) => Source::Rgb(x, CENTRE),
        };
        let mut large = Spill::new(&strips.folder, size[1] * a)?;
        let norm = self.layer_in_strips(arena, 0, strips, size, Feed::Picture(source), &mut large, None)?;
        let rest = norm.rest();
        let mut middle = Spill::new(&strips.folder, half[1] * b)?;
        let from = raw(&mut large, None, centred(&norm, &rest));
        let norm = self.layer_in_strips(arena, 1, strips, size, from, &mut middle, None)?;
        drop(large);
        let rest = norm.rest();
        let body = || Spill::new(&strips.folder, quarter[1] * c);
        let (mut first, mut second, mut kept, mut keep) = (body()?, body()?, body()?, body()?);
        let from = raw(&mut middle, None, centred(&norm, &rest));
        let mut norm = self.layer_in_strips(arena, 2, strips, half, from, &mut second, None)?;
        drop(middle);
        let mut rest = norm.rest();
        let blocks = (self.layers.len() - 5) / 2;
        for block in 0..blocks {
            let end = if block == 0 { centred(&norm, &rest) } else { block_end(&norm) };
            let from = raw(&mut second, (block > 0).then_some(&mut kept), end);
            let inner =
                self.layer_in_strips(arena, 3 + 2 * block, strips, quarter, from, &mut first, Some(&mut keep))?;
            std::mem::swap(&mut kept, &mut keep);
            let inner_rest = inner.rest();
            let from = raw(&mut first, None, centred(&inner, &inner_rest));
            norm = self.layer_in_strips(arena, 4 + 2 * block, strips, quarter, from, &mut second, None)?;
            rest.iter_mut().zip(&mut norm.beta).for_each(|(rest, beta)| *rest += std::mem::take(beta));
        }
        drop((first, keep));
        let end = if blocks == 0 { centred(&norm, &rest) } else { block_end(&norm) };
        let (index, double) = (self.layers.len() - 2, quarter.map(|n| 2 * n));
        let mut middle = Spill::new(&strips.folder, double[1] * b)?;
        let from = raw(&mut second, (blocks > 0).then_some(&mut kept), end);
        let norm = self.layer_in_strips(arena, index, strips, quarter, from, &mut middle, None)?;
        drop((second, kept));
        let (rest, full) = (norm.rest(), quarter.map(|n| 4 * n));
        let mut large = Spill::new(&strips.folder, full[1] * a)?;
        let from = raw(&mut middle, None, centred(&norm, &rest));
        let norm = self.layer_in_strips(arena, index + 1, strips, double, from, &mut large, None)?;
        drop(middle);

        let rows = super::last::ROWS;
        let mut bands = super::last::Last::bands(picture, full);
        let each = (strips.bytes / (4 * full[1] * a * rows).max(1)).max(1);
        let mut from = raw(&mut large, None, Deferred { norm: &norm, relu: true, centre: None });
        let mut hand = Hand::default();
        for (i, some) in bands.chunks_mut(each).enumerate() {
            let first = i * each;
            let read = reads(&(first * rows..(first + some.len()) * rows), full[0], [1, 1, 9, 4]);
            let (image, ..) = hand.image(&mut from, read, self.width, full, Border::Reflect)?;
            self.last.some(&image, first, some, &arena.pool);
        }
        Ok(())
    }
}
