//! The corpus: one small PTX module for each variant of an instruction, built from tables.

mod approx;
mod float;
mod integer;
mod matrix;
mod memory;
mod warp;

use crate::inputs::Kind;

/// How the bits of a result are read: for NaNs and for bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Num {
    Bits,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F64,
}

/// How far two results of one approximate instruction may lie apart. Each rule is the bound that the PTX ISA states
/// against the exact result; the comparison adds one ulp for the rounding of the other side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    Exact,
    /// Units in the last place.
    Ulps(u32),
    /// 2 to this power, relative to the result.
    Relative(f64),
    /// 2 to this power.
    Absolute(f64),
    /// `sin`, `cos`: 2^-20.5 in [-2π, 2π], 2^-14.7 in [-100π, 100π], nothing stated beyond.
    Angle,
    /// `lg2`: 2^-22 absolute for inputs in (0.5, 2), 2^-22 relative elsewhere.
    Log2,
    /// `div.approx`: 2 ulp for |b| in [2^-126, 2^126]; exact beyond (the ISA states zero or NaN).
    Divide,
}

/// One of the three inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input {
    pub(crate) kind: Kind,
    /// 8-byte slots a thread.
    pub(crate) slots: usize,
}

/// One test: a module with the entry `t(in_a, in_b, in_c, out, n)`.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) group: &'static str,
    pub(crate) ptx: String,
    /// Least compute capability, as 80 or 90.
    pub(crate) sm: u32,
    pub(crate) inputs: Vec<Input>,
    /// Threads in all (the argument n) and in a block.
    pub(crate) threads: u32,
    pub(crate) block: u32,
    /// 8-byte result slots a thread, and the bytes of each that the kernel writes.
    pub(crate) slots: usize,
    pub(crate) width: usize,
    pub(crate) num: Num,
    pub(crate) bound: Bound,
    /// The ISA leaves the result open: a difference is listed, not counted.
    pub(crate) unspecified: bool,
}

/// Every variant, in a fixed order.
pub(crate) fn all() -> Vec<Variant> {
    let mut v = Vec::new();
    integer::add(&mut v);
    float::add(&mut v);
    approx::add(&mut v);
    warp::add(&mut v);
    memory::add(&mut v);
    matrix::add(&mut v);
    v
}

/// The register class of an operand type.
fn class(ty: &str) -> &'static str {
    match ty {
        "pred" => "pred",
        "f32" => "f32",
        "f64" => "f64",
        "u8" | "s8" | "u16" | "s16" | "b16" | "f16" | "bf16" => "b16",
        "u32" | "s32" | "b32" | "f16x2" | "bf16x2" | "tf32" => "b32",
        "u64" | "s64" | "b64" => "b64",
        _ => panic!("no operand type {ty}"),
    }
}

fn bits(ty: &str) -> u32 {
    match class(ty) {
        "b16" => 16,
        "b64" | "f64" => 64,
        _ => 32,
    }
}

fn kind(ty: &str) -> Kind {
    match ty {
        "pred" => Kind::Bool,
        "f16" => Kind::F16,
        "bf16" => Kind::Bf16,
        "f16x2" => Kind::F16x2,
        "bf16x2" => Kind::Bf16x2,
        "f32" => Kind::F32,
        "f64" => Kind::F64,
        _ => Kind::Int(bits(ty)),
    }
}

fn num(ty: &str) -> Num {
    match ty {
        "f16" => Num::F16,
        "bf16" => Num::Bf16,
        "f16x2" => Num::F16x2,
        "bf16x2" => Num::Bf16x2,
        "f32" | "tf32" => Num::F32,
        "f64" => Num::F64,
        _ => Num::Bits,
    }
}

/// A variant under construction.
///
/// The body may use `%pa %pb %pc %po` (this thread's slots), `%ba %bb %bc %bo` (the whole buffers), `%i` (the
/// thread's number in the launch), `%t` (its number in its block) and `%n`; each is set up only where it is used.
struct Draft {
    name: String,
    group: &'static str,
    version: &'static str,
    target: u32,
    /// Lines of the module before the entry.
    module: String,
    body: String,
    inputs: Vec<Input>,
    threads: u32,
    block: u32,
    slots: usize,
    width: usize,
    num: Num,
    bound: Bound,
    unspecified: bool,
}

impl Draft {
    fn new(group: &'static str, name: impl Into<String>, inputs: &[Kind], body: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            group,
            version: "7.0",
            target: 80,
            module: String::new(),
            body: body.into(),
            inputs: inputs.iter().map(|&kind| Input { kind, slots: 1 }).collect(),
            threads: if inputs.len() == 3 { 1536 } else { 1024 },
            block: 256,
            slots: 1,
            width: 8,
            num: Num::Bits,
            bound: Bound::Exact,
            unspecified: false,
        }
    }

    /// The instruction `text tail` on loaded operands: `text d, a, b, c, tail;`.
    fn op_tail(group: &'static str, text: &str, tail: &str, dst: &str, src: &[&str]) -> Self {
        let mut body = String::new();
        let mut operands = String::new();
        for (ty, letter) in src.iter().zip(["a", "b", "c"]) {
            body += &load(ty, letter);
            operands += &format!(", %{letter}");
        }
        let tail_operand = if tail.is_empty() { String::new() } else { format!(", {tail}") };
        body += &format!(".reg .{} %d;\n{text} %d{operands}{tail_operand};\n", class(dst));
        body += &store(dst, "d", 0);
        let name = if tail.is_empty() { text.to_owned() } else { format!("{text} {tail}") };
        let kinds: Vec<Kind> = src.iter().map(|ty| kind(ty)).collect();
        let mut draft = Self::new(group, name, &kinds, body);
        draft.num = num(dst);
        draft.width = bits(dst) as usize / 8;
        draft
    }

    fn op(group: &'static str, text: &str, dst: &str, src: &[&str]) -> Self {
        Self::op_tail(group, text, "", dst, src)
    }

    fn sm90(self) -> Self {
        self.target(90, "7.8")
    }

    fn target(mut self, target: u32, version: &'static str) -> Self {
        (self.target, self.version) = (target, version);
        self
    }

    fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Replaces what the inputs hold.
    fn kinds(mut self, kinds: &[Kind]) -> Self {
        for (input, &kind) in self.inputs.iter_mut().zip(kinds) {
            input.kind = kind;
        }
        self
    }

    /// Slots a thread of each input.
    fn reads(mut self, slots: &[usize]) -> Self {
        for (input, &slots) in self.inputs.iter_mut().zip(slots) {
            input.slots = slots;
        }
        self
    }

    /// Result slots a thread and the bytes written in each.
    fn writes(mut self, slots: usize, width: usize) -> Self {
        (self.slots, self.width) = (slots, width);
        self
    }

    fn launch(mut self, threads: u32, block: u32) -> Self {
        (self.threads, self.block) = (threads, block);
        self
    }

    fn module(mut self, text: impl Into<String>) -> Self {
        self.module = text.into();
        self
    }

    fn num(mut self, num: Num) -> Self {
        self.num = num;
        self
    }

    fn bound(mut self, bound: Bound) -> Self {
        self.bound = bound;
        self
    }

    fn unspecified(mut self) -> Self {
        self.unspecified = true;
        self.name += " (unspecified)";
        self
    }

    fn push(self, to: &mut Vec<Variant>) {
        let uses = |register: &str| self.body.contains(register);
        let mut ptx = format!(".version {}\n.target sm_{}\n.address_size 64\n\n", self.version, self.target);
        if !self.module.is_empty() {
            ptx += &format!("{}\n\n", self.module.trim_end());
        }
        let parameters = ".param .u64 in_a, .param .u64 in_b, .param .u64 in_c, .param .u64 out, .param .u32 n";
        ptx += &format!(".visible .entry t({parameters})\n{{\n");
        let mut lines = vec![
            ".reg .pred %out_of_range;".to_owned(),
            ".reg .b32 %i, %t, %n, %block, %threads;".to_owned(),
            "mov.u32 %block, %ctaid.x;".to_owned(),
            "mov.u32 %threads, %ntid.x;".to_owned(),
            "mov.u32 %t, %tid.x;".to_owned(),
            "mad.lo.s32 %i, %block, %threads, %t;".to_owned(),
            "ld.param.u32 %n, [n];".to_owned(),
            "setp.ge.u32 %out_of_range, %i, %n;".to_owned(),
            "@%out_of_range bra DONE;".to_owned(),
        ];
        let slots = |j: usize| self.inputs.get(j).map_or(1, |i| i.slots);
        let buffers =
            [("a", "in_a", slots(0)), ("b", "in_b", slots(1)), ("c", "in_c", slots(2)), ("o", "out", self.slots)];
        for (letter, parameter, slots) in buffers {
            if !uses(&format!("%p{letter}")) && !uses(&format!("%b{letter}")) {
                continue;
            }
            lines.push(format!(".reg .b64 %g{letter}, %b{letter}, %p{letter}, %o{letter};"));
            lines.push(format!("ld.param.u64 %g{letter}, [{parameter}];"));
            lines.push(format!("cvta.to.global.u64 %b{letter}, %g{letter};"));
            lines.push(format!("mul.wide.u32 %o{letter}, %i, {};", slots * 8));
            lines.push(format!("add.s64 %p{letter}, %b{letter}, %o{letter};"));
        }
        lines.extend(self.body.lines().map(|l| l.trim().to_owned()));
        for line in lines.iter().filter(|l| !l.is_empty()) {
            ptx += &if line.ends_with(':') { format!("{line}\n") } else { format!("\t{line}\n") };
        }
        ptx += "DONE:\n\tret;\n}\n";
        to.push(Variant {
            name: self.name,
            group: self.group,
            ptx,
            sm: self.target,
            inputs: self.inputs,
            threads: self.threads,
            block: self.block,
            slots: self.slots,
            width: self.width,
            num: self.num,
            bound: self.bound,
            unspecified: self.unspecified,
        });
    }
}

/// Lines that load register `%letter` from `[%pletter]`.
fn load(ty: &str, letter: &str) -> String {
    match class(ty) {
        "pred" => format!(
            ".reg .b32 %w{letter};\n.reg .pred %{letter};\nld.global.u32 %w{letter}, [%p{letter}];\n\
             setp.ne.u32 %{letter}, %w{letter}, 0;\n"
        ),
        class => format!(".reg .{class} %{letter};\nld.global.{class} %{letter}, [%p{letter}];\n"),
    }
}

/// Lines that store `%register` in this thread's result slot `slot`: predicates as 0 or 1 in 4 bytes.
fn store(ty: &str, register: &str, slot: usize) -> String {
    let offset = slot * 8;
    match class(ty) {
        "pred" => format!(
            ".reg .b32 %v{register};\nselp.u32 %v{register}, 1, 0, %{register};\nst.global.u32 [%po+{offset}], %v{register};\n"
        ),
        class => format!("st.global.{class} [%po+{offset}], %{register};\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::generate;

    #[test]
    fn names_are_distinct_and_inputs_have_their_size() {
        let variants = all();
        let mut names: Vec<&str> = variants.iter().map(|v| v.name.as_str()).collect();
        names.sort_unstable();
        let doubles: Vec<_> = names.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0]).collect();
        assert!(doubles.is_empty(), "{doubles:?}");
        for variant in &variants {
            assert!(variant.threads % 32 == 0 || variant.name.contains("n = 1000"), "{}", variant.name);
            let values = generate(variant);
            assert_eq!(values, generate(variant), "{}", variant.name);
            for (input, values) in variant.inputs.iter().zip(&values) {
                assert_eq!(values.len(), variant.threads as usize * input.slots, "{}", variant.name);
            }
        }
    }
}
