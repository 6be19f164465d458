use std::path::Path;

use ndarray::{Array2, Array3, s};
use serde::{Deserialize, Serialize};

use crate::{Cfa, Error, Result};

/// The smallest side of a picture that can be aligned, in pixels.
pub(crate) const LEAST_SIDE: usize = 64;

/// A picture as its sensor saw it: cropped to its active area, starting at the canonical place of its pattern, with
/// sides that are multiples of the pattern's period.
#[derive(Clone, Debug)]
pub struct RawFrame {
    /// One value a pixel.
    pub mosaic: Array2<u16>,
    /// The pattern at (0, 0) of `mosaic`.
    pub cfa: Cfa,
    /// What a pixel without light has.
    pub black: BlackLevel,
    /// What a pixel has from which on it is saturated.
    pub white: u16,
    /// The colours `[3, H, W]` between 0 and 1, for pictures that came with all three; `mosaic` then holds their mean.
    pub rgb: Option<Array3<f32>>,
    /// What else the file says.
    pub meta: Meta,
}

/// The black level at each position of one period, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct BlackLevel {
    period: usize,
    levels: Vec<f32>,
}

impl BlackLevel {
    /// The same level everywhere.
    pub fn uniform(period: usize, level: f32) -> Self {
        Self { period, levels: vec![level; period * period] }
    }

    /// A level for each position of a `height × width` pattern, repeated over the period.
    ///
    /// # Errors
    /// When the pattern does not repeat with the period, or a level is not a finite number.
    pub fn repeated(period: usize, height: usize, width: usize, levels: &[f32]) -> Result<Self> {
        let divides = height > 0 && width > 0 && period.is_multiple_of(height) && period.is_multiple_of(width);
        if !divides || levels.len() != height * width {
            return Err(Error::value(
                "black level",
                format!(
                    "{} levels of {height} x {width} do not repeat with the pattern's period {period}",
                    levels.len()
                ),
            ));
        }
        if let Some(bad) = levels.iter().find(|v| !v.is_finite()) {
            return Err(Error::value("black level", format!("{bad} is no level")));
        }
        let levels = (0..period * period).map(|i| levels[(i / period % height) * width + i % period % width]);
        Ok(Self { period, levels: levels.collect() })
    }

    /// The level at a pixel.
    pub fn at(&self, y: usize, x: usize) -> f32 {
        self.levels[y % self.period * self.period + x % self.period]
    }

    /// All levels of one period, row-major.
    pub fn levels(&self) -> &[f32] {
        &self.levels
    }

    /// The mean over one period.
    pub fn mean(&self) -> f32 {
        self.levels.iter().sum::<f32>() / self.levels.len() as f32
    }

    /// The levels when the first `dy` rows and `dx` columns are cut off.
    pub fn shifted(&self, dy: usize, dx: usize) -> Self {
        let p = self.period;
        Self { period: p, levels: (0..p * p).map(|i| self.at(i / p + dy, i % p + dx)).collect() }
    }
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rect {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Something about a picture that is worth looking at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warning {
    /// Another phase of the colour filter array explains the pixels better than the declared one.
    CfaDoubtful,
    /// Many pixels have the largest value, below the declared white level; that value counts as white.
    WhiteLowered,
}

/// What a file says beside its pixels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Maker of the camera.
    pub make: String,
    /// Model of the camera.
    pub model: String,
    /// Sensitivity.
    pub iso: Option<f64>,
    /// Exposure time in seconds.
    pub exposure: Option<f64>,
    /// The TIFF orientation tag, 1 to 8. It is recorded and never applied.
    pub orientation: u16,
    /// The matrix from XYZ to the camera's colours, 4 rows of 3; the last is zero.
    pub xyz_to_camera: Option<[[f32; 3]; 4]>,
    /// The part of the range from black to white up to which the sensor is linear.
    pub linear_limit: Option<f64>,
    /// Where the mosaic lies in the picture as stored.
    pub crop: Option<Rect>,
    /// Doubts.
    pub warnings: Vec<Warning>,
}

/// What is known of a file before its pixels are decoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probe {
    /// Maker of the camera.
    pub make: String,
    /// Model of the camera.
    pub model: String,
    /// Rows as stored, where the header says so.
    pub height: Option<usize>,
    /// Columns as stored.
    pub width: Option<usize>,
    /// Bytes of the file.
    pub bytes: u64,
    /// Sensitivity.
    pub iso: Option<f64>,
    /// Exposure time in seconds.
    pub exposure: Option<f64>,
    /// The pattern at (0, 0) of the stored picture.
    pub cfa: Option<Cfa>,
    /// What of the stored picture is aligned.
    pub crop: Option<Rect>,
}

/// What a reader refuses before it decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pixels of a picture.
    pub pixels: u64,
    /// Bytes of a file.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pixels: 400_000_000, bytes: 1 << 30 }
    }
}

/// Something that makes pictures from files.
pub trait RawReader: Send + Sync {
    /// Reads the header.
    ///
    /// # Errors
    /// One that says in which state the file is.
    fn probe(&self, path: &Path) -> Result<Probe>;
    /// Reads the picture.
    ///
    /// # Errors
    /// One that says in which state the file is.
    fn read(&self, path: &Path, limits: &Limits) -> Result<RawFrame>;
}

impl RawFrame {
    /// Cuts a mosaic to its active area, to the canonical place of its pattern and to whole periods.
    ///
    /// `cfa` and `black` are those at (0, 0) of `mosaic`.
    ///
    /// # Errors
    /// When the area is not inside the picture, the levels leave no range, or less than 64 pixels remain.
    pub fn cropped(
        mosaic: &Array2<u16>,
        active: Option<Rect>,
        cfa: Cfa,
        black: &BlackLevel,
        white: u16,
        meta: Meta,
    ) -> Result<Self> {
        Self::cut(mosaic.clone(), active, cfa, black, white, meta)
    }

    /// As [`cropped`](Self::cropped), in the mosaic's own memory.
    pub(crate) fn cut(
        mosaic: Array2<u16>,
        active: Option<Rect>,
        cfa: Cfa,
        black: &BlackLevel,
        white: u16,
        mut meta: Meta,
    ) -> Result<Self> {
        let (height, width) = mosaic.dim();
        let crop = crop_of([height, width], active, cfa)?;
        if !(black.levels.iter().all(|&b| b >= 0.0 && b < f32::from(white))) {
            return Err(Error::value("levels", format!("black {:?} is not below white {white}", black.levels)));
        }
        let cut = cut_to(mosaic, crop)?;
        let cfa = cfa.shifted(crop.top, crop.left);
        let black = black.shifted(crop.top, crop.left);
        if cfa.is_doubtful(&cut.view()) {
            meta.warnings.push(Warning::CfaDoubtful);
        }
        let white = lowered_white(&cut, &black, white, &mut meta);
        meta.crop = Some(crop);
        Ok(Self { mosaic: cut, cfa, black, white, rgb: None, meta })
    }

    /// A picture from the colours `[3, H, W]`, 0 for black and 1 for white.
    ///
    /// # Errors
    /// When it has not three channels, or less than 64 pixels a side.
    pub fn from_rgb(rgb: Array3<f32>, meta: Meta) -> Result<Self> {
        let (channels, height, width) = rgb.dim();
        if channels != 3 {
            return Err(Error::value("picture", format!("{channels} channels; three are read")));
        }
        let (height, width) = (height / 2 * 2, width / 2 * 2);
        if height < LEAST_SIDE || width < LEAST_SIDE {
            return Err(Error::TooSmall { height, width, least: LEAST_SIDE });
        }
        let rgb = rgb.slice(s![.., ..height, ..width]).mapv(|v| if v.is_finite() { v } else { 0.0 });
        let mosaic = Array2::from_shape_fn((height, width), |(y, x)| {
            let mean = (rgb[[0, y, x]] + rgb[[1, y, x]] + rgb[[2, y, x]]) / 3.0;
            (mean.clamp(0.0, 1.0) * f32::from(u16::MAX)).round() as u16
        });
        let mut meta = meta;
        meta.crop = Some(Rect { top: 0, left: 0, height, width });
        Ok(Self { mosaic, cfa: Cfa::Gray, black: BlackLevel::uniform(1, 0.0), white: u16::MAX, rgb: Some(rgb), meta })
    }

    /// Rows and columns.
    pub fn size(&self) -> [usize; 2] {
        [self.mosaic.nrows(), self.mosaic.ncols()]
    }

    /// Whether another picture can be in a scene with this one.
    ///
    /// # Errors
    /// [`Error::OtherCamera`] or [`Error::OtherSize`].
    pub fn fits(&self, other: &Self) -> Result<()> {
        let name = |f: &Self| camera_name(&f.meta.make, &f.meta.model, &f.cfa);
        if name(self) != name(other) {
            return Err(Error::OtherCamera { expected: name(self), got: name(other) });
        }
        if self.size() != other.size() {
            let size = |f: &Self| format!("{} x {}", f.size()[0], f.size()[1]);
            return Err(Error::OtherSize { expected: size(self), got: size(other) });
        }
        Ok(())
    }
}

/// What errors call a camera: maker, model and pattern.
pub fn camera_name(make: &str, model: &str, cfa: &Cfa) -> String {
    let pattern = if *cfa == Cfa::Gray { cfa.kind().to_owned() } else { cfa.letters() };
    match format!("{make} {model}").trim() {
        "" => format!("a camera that is not named ({pattern})"),
        camera => format!("{camera} ({pattern})"),
    }
}

/// What of a stored picture is aligned: its active area from the canonical place of the pattern on, in whole periods. `cfa`
/// is the pattern at (0, 0).
pub(crate) fn crop_of([height, width]: [usize; 2], active: Option<Rect>, cfa: Cfa) -> Result<Rect> {
    let area = active.unwrap_or(Rect { top: 0, left: 0, height, width });
    let inside = |start: usize, len: usize, n: usize| start.checked_add(len).is_some_and(|end| end <= n);
    if !inside(area.top, area.height, height) || !inside(area.left, area.width, width) {
        return Err(Error::value("active area", format!("{area:?} is not inside {height} x {width}")));
    }
    let offset = cfa.shifted(area.top, area.left).canonical_offset();
    let [dy, dx] = offset.ok_or_else(|| Error::value("colour filter array", cfa.letters()))?;
    // Pictures without filters are averaged by 2 x 2 all the same.
    let unit = cfa.period().max(2);
    let crop = Rect {
        top: area.top + dy,
        left: area.left + dx,
        height: area.height.saturating_sub(dy) / unit * unit,
        width: area.width.saturating_sub(dx) / unit * unit,
    };
    for (height, width) in [(area.height, area.width), (crop.height, crop.width)] {
        if height < LEAST_SIDE || width < LEAST_SIDE {
            return Err(Error::TooSmall { height, width, least: LEAST_SIDE });
        }
    }
    Ok(crop)
}

/// What of a mosaic lies inside of a rectangle, moved to the front of its memory.
fn cut_to(mosaic: Array2<u16>, crop: Rect) -> Result<Array2<u16>> {
    let (height, width) = mosaic.dim();
    if !mosaic.is_standard_layout() {
        return Ok(mosaic.slice(s![crop.top..crop.top + crop.height, crop.left..crop.left + crop.width]).to_owned());
    }
    let (mut values, offset) = mosaic.into_raw_vec_and_offset();
    let start = offset.unwrap_or(0);
    if start > 0 || (crop.height, crop.width) != (height, width) {
        for y in 0..crop.height {
            let from = start + (crop.top + y) * width + crop.left;
            values.copy_within(from..from + crop.width, y * crop.width);
        }
        values.truncate(crop.height * crop.width);
    }
    Array2::from_shape_vec((crop.height, crop.width), values).map_err(|e| Error::value("mosaic", e.to_string()))
}

/// The largest value, where so many pixels have it that it must be saturation.
fn lowered_white(mosaic: &Array2<u16>, black: &BlackLevel, white: u16, meta: &mut Meta) -> u16 {
    let largest = mosaic.iter().copied().max().unwrap_or(white);
    let black = black.mean();
    let high = f32::from(largest) >= black + (f32::from(white) - black) / 8.0;
    if largest >= white || !high {
        return white;
    }
    let many = mosaic.iter().filter(|&&v| v == largest).count() * 50 >= mosaic.len();
    if !many {
        return white;
    }
    meta.warnings.push(Warning::WhiteLowered);
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_are_cut_from_any_layout() {
        let whole = Array2::from_shape_fn((9, 11), |(y, x)| (100 * y + x) as u16);
        for crop in [[0, 0, 9, 11], [0, 0, 4, 11], [2, 3, 7, 5], [8, 10, 1, 1]] {
            let [top, left, height, width] = crop;
            let wanted = whole.slice(s![top..top + height, left..left + width]).to_owned();
            let crop = Rect { top, left, height, width };
            assert_eq!(cut_to(whole.clone(), crop).unwrap(), wanted);
            let turned = whole.t().as_standard_layout().into_owned().reversed_axes();
            assert_eq!(cut_to(turned, crop).unwrap(), wanted);
            let mut inside = Array2::zeros((12, 11));
            inside.slice_mut(s![3.., ..]).assign(&whole);
            inside.slice_collapse(s![3.., ..]);
            assert_eq!(cut_to(inside, crop).unwrap(), wanted);
        }
    }
}
