//! Cases of what is computed from one mosaic: proxies and interpolated colours.

use super::*;

#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) cfa: Cfa,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) neighbours: usize,
    pub(super) channels: bool,
    pub(super) uneven: bool,
    pub(super) seed: u64,
}

pub(super) fn cases() -> impl Strategy<Value = Case> {
    let cfa = prop_oneof![Just(Cfa::RGGB), Just(xtrans()), Just(Cfa::Gray)];
    (cfa, 2..8_usize, 2..9_usize, 1..12_usize, any::<bool>(), any::<bool>(), any::<u64>()).prop_map(
        |(cfa, h, w, neighbours, channels, uneven, seed)| {
            let unit = if cfa.period() == 6 { 6 } else { 2 };
            Case { cfa, h: unit * (h + 1), w: unit * (w + 1), neighbours, channels, uneven, seed }
        },
    )
}

/// The pattern and the numbers of neighbours that have a kernel of their own: rows of whole strips of eight columns and
/// others, and more rows than a thread works on.
pub(super) fn bayer() -> impl Strategy<Value = Case> {
    let width = prop_oneof![(1..5_usize).prop_map(|n| 8 * n), (3..20_usize).prop_map(|n| 2 * n)];
    (2..30_usize, width, 5..=8_usize, any::<bool>(), any::<bool>(), any::<u64>()).prop_map(
        |(h, w, neighbours, channels, uneven, seed)| Case {
            cfa: Cfa::RGGB,
            h: 2 * (h + 1),
            w,
            neighbours,
            channels,
            uneven,
            seed,
        },
    )
}

impl Case {
    pub(super) fn values(&self) -> Vec<u16> {
        let mut random = Random::new(self.seed);
        // Mostly below white, some above, some hot.
        (0..self.h * self.w).map(|_| (random.uniform().powi(3) * 20000.0) as u16).collect()
    }

    pub(super) fn black(&self, cfa: &Cfa) -> BlackLevel {
        let p = cfa.period();
        let levels: Vec<f32> = (0..p * p).map(|i| if self.uneven { 500.0 + 1.5 * i as f32 } else { 512.0 }).collect();
        BlackLevel::repeated(p, p, p, &levels).unwrap()
    }

    fn kind(&self) -> PlaneKind {
        if self.channels { PlaneKind::Channels } else { PlaneKind::Luma }
    }
}

pub(super) fn proxy<B: DespikeBlock>(b: &B, c: &Case) -> Result<Outputs> {
    let table = MosaicTable::new(b, &c.cfa, &c.black(&c.cfa), 16383, c.neighbours, c.kind())?;
    let s = table.block();
    let mut out = Tensor::<B, f32, 3>::scratch(b, [table.planes(), c.h / s, c.w / s])?;
    let mosaic = up(b, &c.values())?;
    despike_block(b, &table, c.h, c.w, mosaic.flat(), out.flat_mut())?;
    Ok(vec![Output::of(b, &out)?])
}

pub(super) fn proxy_oracle(c: &Case) -> Outputs {
    let letters = c.cfa.letters();
    let (s, planes) = (c.cfa.block(), c.kind().planes(&c.cfa));
    let black = c.black(&c.cfa);
    let plane = |y: usize, x: usize| match planes {
        1 => 0,
        4 => y % 2 * 2 + x % 2,
        _ => "RGB".find(oracle::letter(&letters, y as i64, x as i64)).unwrap(),
    };
    let out = oracle::despike_block(
        &c.values(),
        [c.h, c.w],
        &letters,
        [c.neighbours, s, planes],
        plane,
        |y, x| f64::from(black.at(y, x)),
        16383.0,
    );
    vec![Output::F64(vec![planes, c.h / s, c.w / s], out)]
}

pub(super) fn colours<B: Demosaic>(b: &B, c: &Case) -> Result<Outputs> {
    let cfa = if c.cfa == Cfa::Gray { Cfa::RGGB } else { c.cfa };
    let table = ColourTable::new(b, &cfa, &c.black(&cfa), 16383)?;
    let mut out = Tensor::<B, f32, 3>::scratch(b, [3, c.h, c.w])?;
    let mosaic = up(b, &c.values())?;
    demosaic(b, &table, c.h, c.w, mosaic.flat(), out.flat_mut())?;
    Ok(vec![Output::of(b, &out)?])
}

pub(super) fn colours_oracle(c: &Case) -> Outputs {
    let cfa = if c.cfa == Cfa::Gray { Cfa::RGGB } else { c.cfa };
    let black = c.black(&cfa);
    let level = |(i, &v): (usize, &u16)| {
        let black = f64::from(black.at(i / c.w, i % c.w));
        (f64::from(v) - black) / (16383.0 - black)
    };
    let values: Vec<f64> = c.values().iter().enumerate().map(level).collect();
    let out = oracle::demosaic(&values, c.h, c.w, &cfa.letters(), if cfa.period() == 2 { 1 } else { 2 });
    vec![Output::F64(vec![3, c.h, c.w], out)]
}

/// A mosaic with Bayer's pattern in one of its four places; odd sides too, and few values, so that differences tie.
fn edges(c: &Case) -> (Cfa, BlackLevel, [usize; 2], Vec<u16>) {
    use align::Colour::{Blue, Green, Red};
    let [turn, odd] = [c.seed % 4, c.seed / 4 % 4];
    let Cfa::Bayer(cells) = (match turn {
        0 => Cfa::RGGB,
        1 => Cfa::Bayer([[Green, Red], [Blue, Green]]),
        2 => Cfa::Bayer([[Green, Blue], [Red, Green]]),
        _ => Cfa::Bayer([[Blue, Green], [Green, Red]]),
    }) else {
        unreachable!()
    };
    let levels = if c.uneven { [500.0, 501.5, 503.0, 504.5] } else { [512.0; 4] };
    let black = BlackLevel::repeated(2, 2, 2, &levels).unwrap();
    let size = [c.h - (odd % 2) as usize, c.w - (odd / 2) as usize];
    let values = c.values()[..size[0] * size[1]].iter().map(|v| if c.channels { v % 5 } else { *v }).collect();
    (Cfa::Bayer(cells), black, size, values)
}

pub(super) fn edged<B: DemosaicEdges>(b: &B, c: &Case) -> Result<Outputs> {
    let (cfa, black, [h, w], values) = edges(c);
    let table = ColourTable::new(b, &cfa, &black, 16383)?;
    let mut out = Tensor::<B, f32, 3>::scratch(b, [3, h, w])?;
    demosaic_edges(b, &table, h, w, up(b, &values)?.flat(), out.flat_mut())?;
    Ok(vec![Output::of(b, &out)?])
}

pub(super) fn edged_oracle(c: &Case) -> Outputs {
    let (cfa, black, [h, w], values) = edges(c);
    let level = |y: usize, x: usize| {
        let black = f64::from(black.at(y, x));
        [black, 1.0 / (16383.0 - black)]
    };
    vec![Output::F64(vec![3, h, w], oracle::demosaic_edges(&values, h, w, &cfa.letters(), level))]
}
