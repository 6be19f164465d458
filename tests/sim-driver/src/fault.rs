//! What went wrong in a kernel, and where.

use std::fmt;

use crate::program::Program;

/// Sorts of faults, each with the driver's code that it is returned as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    OutOfBounds,
    UseAfterFree,
    Misaligned,
    Unwritten,
    Race,
    Barrier,
    WarpSync,
    Mbarrier,
    Trap,
    Assertion,
    Endless,
    Unsupported,
    /// The host has too little.
    Memory,
}

impl FaultKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OutOfBounds => "out of bounds",
            Self::UseAfterFree => "use after free",
            Self::Misaligned => "misaligned address",
            Self::Unwritten => "read of memory that nobody wrote",
            Self::Race => "race",
            Self::Barrier => "divergent barrier",
            Self::WarpSync => "lanes missing at a warp's instruction",
            Self::Mbarrier => "misuse of an mbarrier",
            Self::Trap => "trap",
            Self::Assertion => "assertion failed",
            Self::Endless => "too many instructions",
            Self::Unsupported => "unsupported",
            Self::Memory => "out of memory",
        }
    }

    /// The driver's code: the one that a device gives where it notices, else that of a failed launch.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::OutOfBounds | Self::UseAfterFree => 700,
            Self::Endless => 702,
            Self::Assertion => 710,
            Self::Misaligned => 716,
            Self::Unsupported => 801,
            Self::Memory => 2,
            Self::Unwritten | Self::Race | Self::Barrier | Self::WarpSync | Self::Mbarrier | Self::Trap => 719,
        }
    }
}

/// A fault as the interpreter finds it.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// Index of the instruction.
    pub(crate) step: u32,
    /// Number of the thread in its block.
    pub(crate) thread: Option<u32>,
    pub(crate) why: String,
}

/// A fault with names and lines.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) kind: FaultKind,
    pub(crate) kernel: String,
    pub(crate) block: [u32; 3],
    pub(crate) thread: Option<[u32; 3]>,
    pub(crate) line: u32,
    pub(crate) text: String,
    /// File and line of the source, where the PTX names them.
    pub(crate) source: Option<(String, u32)>,
    /// Where the function with this line was put in place of a call.
    pub(crate) call: Option<(String, u32)>,
    pub(crate) why: String,
}

fn split(i: u64, shape: [u32; 3]) -> [u32; 3] {
    let [x, y, _] = shape.map(u64::from);
    [(i % x) as u32, (i / x % y) as u32, (i / (x * y)) as u32]
}

impl Report {
    pub(crate) fn new(fault: Fault, program: &Program, block: u64, grid: [u32; 3], threads: [u32; 3]) -> Self {
        let step = program.steps.get(fault.step as usize);
        let line = step.map_or(0, |step| step.line);
        let named = |(file, line)| {
            let name = program.files.iter().find(|(number, _)| *number == file).map(|(_, name)| name.clone());
            (name.unwrap_or_else(|| format!("file {file}")), line)
        };
        let source = step.filter(|step| step.source > 0);
        let source = source.and_then(|step| program.sources.get(step.source as usize - 1));
        let call = source.and_then(|source| source.call).map(named);
        let source = source.map(|source| named(source.at));
        // Compilers put tabs inside of a line; with spaces it can be taken over into a patch.
        let words = program.text.get(line.saturating_sub(1) as usize).map(|text| text.split_whitespace());
        let text = words.map_or_else(String::new, |words| words.collect::<Vec<_>>().join(" "));
        Self {
            kind: fault.kind,
            kernel: program.name.clone(),
            block: split(block, grid),
            thread: fault.thread.map(|thread| split(thread.into(), threads)),
            line,
            text,
            source,
            call,
            why: fault.why,
        }
    }

    /// One line of JSON.
    pub(crate) fn json(&self) -> String {
        let list = |v: [u32; 3]| format!("[{},{},{}]", v[0], v[1], v[2]);
        let place = |place: &Option<(String, u32)>| {
            place.as_ref().map_or("null".to_owned(), |(file, line)| quoted(&format!("{file}:{line}")))
        };
        let (source, call) = (place(&self.source), place(&self.call));
        format!(
            "{{\"kind\":{},\"kernel\":{},\"block\":{},\"thread\":{},\"line\":{},\"instruction\":{},\"source\":{},\"inlined_at\":{},\"why\":{}}}",
            quoted(self.kind.name()),
            quoted(&self.kernel),
            list(self.block),
            self.thread.map_or("null".to_owned(), list),
            self.line,
            quoted(&self.text),
            source,
            call,
            quoted(&self.why),
        )
    }
}

/// A text as JSON has it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            c if c < ' ' => {
                let _ = fmt::Write::write_fmt(&mut out, format_args!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.block;
        write!(f, "{} in kernel {}, block ({x}, {y}, {z})", self.kind.name(), self.kernel)?;
        if let Some([x, y, z]) = self.thread {
            write!(f, ", thread ({x}, {y}, {z})")?;
        }
        write!(f, ", PTX line {}", self.line)?;
        if !self.text.is_empty() {
            write!(f, " `{}`", self.text)?;
        }
        if let Some((file, line)) = &self.source {
            write!(f, ", {file}:{line}")?;
        }
        if let Some((file, line)) = &self.call {
            write!(f, ", inlined at {file}:{line}")?;
        }
        write!(f, ": {}", self.why)
    }
}
