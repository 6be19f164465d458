//! Element types, shapes and the conversions of small floats.

/// Number of lanes of a warp.
pub(crate) const LANES: usize = 32;

/// One register of all 32 lanes, zero-extended to 64 bits.
pub(crate) type Register = [u64; LANES];

/// Type of a matrix element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Elem {
    /// IEEE half precision, two in a 32-bit register.
    F16,
    /// Brain float, two in a 32-bit register.
    Bf16,
    /// The upper 19 bits of a single, one in a 32-bit register.
    Tf32,
    /// IEEE single precision, one in a 32-bit register.
    F32,
    /// IEEE double precision, one in a 64-bit register.
    F64,
    /// Signed byte, four in a 32-bit register.
    S8,
    /// Unsigned byte, four in a 32-bit register.
    U8,
    /// Signed 32-bit integer, one in a 32-bit register.
    S32,
}

impl Elem {
    /// The type of a PTX name written without its dot.
    #[must_use]
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "f16" => Self::F16,
            "bf16" => Self::Bf16,
            "tf32" => Self::Tf32,
            "f32" => Self::F32,
            "f64" => Self::F64,
            "s8" => Self::S8,
            "u8" => Self::U8,
            "s32" => Self::S32,
            _ => return None,
        })
    }

    /// Size of an element in bytes, in memory and in a register alike.
    #[must_use]
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::S8 | Self::U8 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::Tf32 | Self::F32 | Self::S32 => 4,
            Self::F64 => 8,
        }
    }

    /// Number of elements that one register of a lane holds.
    #[must_use]
    pub(crate) const fn per_register(self) -> usize {
        match self {
            Self::S8 | Self::U8 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Tf32 | Self::F32 | Self::S32 | Self::F64 => 1,
        }
    }

    /// Whether the element is an integer.
    #[must_use]
    pub(crate) const fn is_integer(self) -> bool {
        matches!(self, Self::S8 | Self::U8 | Self::S32)
    }

    /// Exact value of a floating-point element's bits (integers give 0).
    pub(super) fn decode_float(self, bits: u64) -> f64 {
        match self {
            Self::F16 => f16_decode(bits as u16),
            Self::Bf16 => f64::from(f32::from_bits((bits as u32 & 0xFFFF) << 16)),
            Self::Tf32 => f64::from(f32::from_bits(bits as u32 & !0x1FFF)),
            Self::F32 => f64::from(f32::from_bits(bits as u32)),
            Self::F64 => f64::from_bits(bits),
            Self::S8 | Self::U8 | Self::S32 => 0.0,
        }
    }

    /// Exact value of an integer element's bits (floats give 0).
    pub(super) const fn decode_integer(self, bits: u64) -> i64 {
        match self {
            Self::S8 => bits as i8 as i64,
            Self::U8 => bits as u8 as i64,
            Self::S32 => bits as i32 as i64,
            _ => 0,
        }
    }

    /// Bits of an accumulator element (`F16`, `F32` or `F64`) nearest to `value`.
    pub(super) fn encode_float(self, value: f64) -> u64 {
        match self {
            Self::F16 => u64::from(f16_encode(value)),
            Self::F64 => value.to_bits(),
            _ if value.is_nan() => 0x7FFF_FFFF,
            _ => u64::from((value as f32).to_bits()),
        }
    }
}

/// Shape `mMnNkK` of a matrix product: A is M x K, B is K x N, C and D are M x N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    /// Rows of A, C and D.
    pub(crate) m: usize,
    /// Columns of B, C and D.
    pub(crate) n: usize,
    /// Columns of A and rows of B.
    pub(crate) k: usize,
}

impl Shape {
    /// A shape of its three sizes.
    #[must_use]
    pub(crate) const fn new(m: usize, n: usize, k: usize) -> Self {
        Self { m, n, k }
    }

    /// The shape of a name such as `m16n8k16`.
    #[must_use]
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (m, rest) = name.strip_prefix('m')?.split_once('n')?;
        let (n, k) = rest.split_once('k')?;
        let size = |digits: &str| digits.parse::<u8>().ok().map(usize::from);
        Some(Self::new(size(m)?, size(n)?, size(k)?))
    }

    /// The three sizes (m, n, k).
    #[must_use]
    pub(crate) const fn sizes(self) -> (usize, usize, usize) {
        (self.m, self.n, self.k)
    }
}

/// Exact value of a half.
pub(super) fn f16_decode(bits: u16) -> f64 {
    let exponent = u64::from(bits >> 10 & 0x1F);
    let fraction = u64::from(bits & 0x3FF);
    let size = match (exponent, fraction) {
        (0, _) => fraction as f64 * (1.0 / f64::from(1 << 24)),
        (31, 0) => f64::INFINITY,
        (31, _) => f64::NAN,
        _ => f64::from_bits((exponent + 1023 - 15) << 52 | fraction << 42),
    };
    if bits >> 15 == 0 { size } else { -size }
}

/// Half nearest to a value, ties to even; any NaN gives 0x7FFF.
pub(super) fn f16_encode(value: f64) -> u16 {
    if value.is_nan() {
        return 0x7FFF;
    }
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let size = value.abs();
    let bits = if size >= 65520.0 {
        0x7C00
    } else if size < 1.0 / 16384.0 {
        // Subnormal: a multiple of 2^-24 (1024 of them is the least normal).
        (size * f64::from(1 << 24)).round_ties_even() as u16
    } else {
        let bits = size.to_bits();
        let rounded = bits + ((1 << 41) - 1) + (bits >> 42 & 1);
        ((rounded >> 42) - ((1023 - 15) << 10)) as u16
    };
    sign | bits
}
