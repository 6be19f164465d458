/// What can go wrong in this crate.
///
/// Messages name the value that was refused and what would be accepted; they are lower case without a full stop, so
/// that a command can put them behind its own words.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is no filter family, geometry or engine.
    #[error("unknown {what} \"{name}\"; did you mean \"{nearest}\"? (known: {known})")]
    UnknownName {
        /// What was being named: `"directional filter"`, `"pyramid filter"`, `"geometry"` or `"engine"`.
        what: &'static str,
        /// The name that came.
        name: String,
        /// The known name that is nearest to it in spelling.
        nearest: String,
        /// All known names.
        known: &'static str,
    },
    /// A filter that the MATLAB toolbox lists but that does not work there, or is not a filter of this transform.
    #[error("the filter \"{name}\" is not available: {why}")]
    RejectedFilter {
        /// The name that came.
        name: String,
        /// Why it is refused, and what to use.
        why: &'static str,
    },
    /// A filter family that has no member of this order.
    #[error("{family}{order} does not exist; possible orders of {family} are {allowed}")]
    FilterOrder {
        /// `"dmaxflat"` or `"pkva"`.
        family: &'static str,
        /// The order that came.
        order: String,
        /// The orders that exist.
        allowed: &'static str,
    },
    /// An engine that cannot compute the chosen filters.
    #[error("the engine {engine} cannot work with {with}: {why}")]
    Engine {
        /// The engine.
        engine: &'static str,
        /// The filter, geometry or device it was combined with.
        with: String,
        /// Why, and what to use.
        why: &'static str,
    },
    /// A scale is to be split more often than this crate allows.
    #[error("level {level} of scale {scale} is too deep; at most {max} (= {} directions) are possible", 1_usize << *max)]
    LevelTooDeep {
        /// The scale, 1 for the coarsest.
        scale: usize,
        /// The level that came.
        level: u8,
        /// The highest level.
        max: u8,
    },
    /// A node or plane of the directional tree that does not exist.
    #[error("{what} {index} at depth {depth} does not exist; depths are 1 to {max}, and this one has {count} of them")]
    NoSuchNode {
        /// `"node"`, `"plane"` or `"direction"`.
        what: &'static str,
        /// The index that came, counted from 1.
        index: usize,
        /// The depth that came.
        depth: u8,
        /// The greatest depth.
        max: u8,
        /// How many exist at this depth.
        count: usize,
    },
    /// An image without pixels.
    #[error("the image of {height} x {width} has no pixels; both sides must be at least 1")]
    EmptyImage {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// An argument has the wrong shape.
    #[error("{what} has shape {got:?}, expected {expected:?}")]
    ShapeMismatch {
        /// The argument.
        what: &'static str,
        /// The shape that the operation needs.
        expected: Vec<usize>,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// An argument has a value that the operation cannot work with.
    #[error("{what}: {why}")]
    Value {
        /// The argument.
        what: &'static str,
        /// Why its value is refused, and what would be accepted.
        why: String,
    },
    /// The device or its memory refused.
    #[error(transparent)]
    Gpu(#[from] gpu_core::Error),
}

/// A result with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Value`] for `what`.
    pub(crate) fn value(what: &'static str, why: impl Into<String>) -> Self {
        Self::Value { what, why: why.into() }
    }
}
