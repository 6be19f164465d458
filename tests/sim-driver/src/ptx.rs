//! PTX as a tree: modules, functions, instructions. Nothing here knows what an instruction does.

use crate::lex::SyntaxError;

/// A state space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Space {
    Generic,
    Global,
    Const,
    Shared,
    Local,
    Param,
}

/// The fundamental types, with which registers and instructions are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    Pred,
    B8,
    B16,
    B32,
    B64,
    B128,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    Tf32,
    F32,
    F64,
}

impl Type {
    /// Reads `f32`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "pred" => Self::Pred,
            "b8" => Self::B8,
            "b16" => Self::B16,
            "b32" => Self::B32,
            "b64" => Self::B64,
            "b128" => Self::B128,
            "u8" => Self::U8,
            "u16" => Self::U16,
            "u32" => Self::U32,
            "u64" => Self::U64,
            "s8" => Self::S8,
            "s16" => Self::S16,
            "s32" => Self::S32,
            "s64" => Self::S64,
            "f16" => Self::F16,
            "f16x2" => Self::F16x2,
            "bf16" => Self::Bf16,
            "bf16x2" => Self::Bf16x2,
            "tf32" => Self::Tf32,
            "f32" => Self::F32,
            "f64" => Self::F64,
            _ => return None,
        })
    }

    /// Bytes in memory.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Pred | Self::B8 | Self::U8 | Self::S8 => 1,
            Self::B16 | Self::U16 | Self::S16 | Self::F16 | Self::Bf16 => 2,
            Self::B32 | Self::U32 | Self::S32 | Self::F16x2 | Self::Bf16x2 | Self::Tf32 | Self::F32 => 4,
            Self::B64 | Self::U64 | Self::S64 | Self::F64 => 8,
            Self::B128 => 16,
        }
    }

    pub(crate) fn bits(self) -> u32 {
        self.bytes() as u32 * 8
    }

    pub(crate) fn is_signed(self) -> bool {
        matches!(self, Self::S8 | Self::S16 | Self::S32 | Self::S64)
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F16x2 | Self::Bf16 | Self::Bf16x2 | Self::Tf32 | Self::F32 | Self::F64)
    }
}

/// A variable or parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Variable {
    pub(crate) space: Space,
    pub(crate) name: String,
    pub(crate) align: usize,
    /// Bytes; 0 for `extern` arrays without a length.
    pub(crate) size: usize,
    pub(crate) is_extern: bool,
    /// What it holds at first; zeros where shorter than `size`.
    pub(crate) contents: Vec<u8>,
    /// Offsets at which the address of another variable is stored (64 bits), with a constant added.
    pub(crate) addresses: Vec<(usize, String, i64)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    /// A register, a variable, a special register or a label.
    Name(String),
    /// Bits of an integer, sign-extended to 64.
    Integer(u64),
    Single(u32),
    Double(u64),
    /// `[base+offset]`
    Address(Box<Operand>, i64),
    /// `{a, b}`, `(a, b)`
    List(Vec<Operand>),
    /// `a|b`
    Pair(Box<Operand>, Box<Operand>),
    /// `!p`
    Not(Box<Operand>),
    /// `-a`, where the instruction allows a negated register.
    Negated(Box<Operand>),
    /// `name+8` outside of brackets.
    Sum(String, i64),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Instruction {
    pub(crate) line: u32,
    /// Index into [`Function::sources`], plus one; 0 for none.
    pub(crate) source: u32,
    /// Predicate register and whether it is negated.
    pub(crate) guard: Option<(String, bool)>,
    /// `ld.global.f32`
    pub(crate) opcode: String,
    pub(crate) operands: Vec<Operand>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Statement {
    Label(String),
    Instruction(Instruction),
    /// Name and type of registers; with a count, `name0` to `name(count-1)`.
    Registers(Type, String, Option<u32>),
    Variable(Variable),
    /// `{` and `}`: names declared between end there.
    Open,
    Close,
    /// `label: .branchtargets a, b;`
    Targets(String, Vec<String>),
}

/// Number of a file and line of the source.
pub(crate) type At = (u32, u32);

/// A line of the source; where its function was put in place of a call, the line of that call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) at: At,
    pub(crate) call: Option<At>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) is_entry: bool,
    pub(crate) line: u32,
    pub(crate) parameters: Vec<Variable>,
    pub(crate) results: Vec<Variable>,
    pub(crate) body: Vec<Statement>,
    /// Largest number of threads a block, where declared.
    pub(crate) most_threads: Option<u32>,
    /// Lines of the source that `.loc` names.
    pub(crate) sources: Vec<Source>,
    /// What of the body is not known.
    pub(crate) unsupported: Option<SyntaxError>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Module {
    pub(crate) target: String,
    pub(crate) version: String,
    pub(crate) variables: Vec<Variable>,
    pub(crate) functions: Vec<Function>,
    pub(crate) files: Vec<(u32, String)>,
}
