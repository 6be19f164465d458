//! Small faults in PTX: what a slip in a kernel's source would make of one of its instructions.
//!
//! Pure text. It reads what nvcc writes, one instruction a line. Device functions (`.func`) are left alone: which
//! kernel calls them is not in the text of the kernel.

use serde::{Deserialize, Serialize};

/// Sorts of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A constant of integer arithmetic is one off.
    Index,
    /// A load or store touches the neighbour.
    Offset,
    /// A shift is one bit off.
    Shift,
    /// A comparison takes or leaves the equal case, or is turned around.
    Comparison,
    /// A branch goes the other way.
    Branch,
    /// Nobody waits.
    Barrier,
    /// A constant is 1 % off, one off, or 1 instead of 0.
    Constant,
    /// An operation is another one.
    Arithmetic,
    /// A selection takes the other value.
    Selection,
    /// The whole kernel is a trap: no fault to find, but the proof that a test launches it.
    Trap,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Offset => "offset",
            Self::Shift => "shift",
            Self::Comparison => "comparison",
            Self::Branch => "branch",
            Self::Barrier => "barrier",
            Self::Constant => "constant",
            Self::Arithmetic => "arithmetic",
            Self::Selection => "selection",
            Self::Trap => "trap",
        }
    }
}

/// One changed line. Texts have single spaces where the PTX has tabs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Number of the line in the file, from 1.
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    pub(crate) old: String,
    /// Empty when the instruction is removed.
    pub(crate) new: String,
}

/// The body of one kernel.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) entry: String,
    /// A trap in the place of the first instruction.
    pub(crate) trap: Fault,
    pub(crate) faults: Vec<Fault>,
}

/// The kernels of a PTX file with every fault that they could have.
pub(crate) fn bodies(ptx: &str) -> Vec<Body> {
    let mut all = Vec::new();
    let mut entry = None;
    let mut body: Option<Body> = None;
    let mut inside = false;
    for (i, line) in ptx.lines().enumerate() {
        if let Some((_, rest)) = line.split_once(".entry ") {
            entry = Some(rest.split(['(', ' ']).next().unwrap_or_default().to_owned());
        } else if line.trim_end() == "{" {
            inside = entry.is_some();
        } else if line.trim_end() == "}" {
            all.extend(body.take());
            (entry, inside) = (None, false);
        } else if inside && let Some(entry) = &entry {
            let old = line.split_whitespace().collect::<Vec<_>>().join(" ");
            let Some(instruction) = Instruction::parse(&old) else { continue };
            let fault = |kind, new| Fault { line: i + 1, kind, old: old.clone(), new };
            let body = body.get_or_insert_with(|| Body {
                entry: entry.clone(),
                trap: fault(Kind::Trap, "trap;".into()),
                faults: Vec::new(),
            });
            let changed = instruction.faults().into_iter().filter(|(_, new)| *new != old);
            body.faults.extend(changed.map(|(kind, new)| fault(kind, new)));
        }
    }
    all
}

/// `@%p1 add.s32 %r1, %r2, 1;` in parts.
#[derive(Clone)]
struct Instruction<'a> {
    /// `@%p1`, `@!%p1` or nothing.
    guard: String,
    opcode: String,
    operands: Vec<String>,
    /// The parts of the opcode, such as `add`, `rn`, `f32`.
    parts: Vec<&'a str>,
}

impl<'a> Instruction<'a> {
    /// Nothing for declarations, labels and braces.
    fn parse(text: &'a str) -> Option<Self> {
        let body = text.strip_suffix(';')?;
        if body.starts_with(['.', '{', '}', '/', '$']) {
            return None;
        }
        let (guard, body) = if body.starts_with('@') { body.split_once(' ')? } else { ("", body) };
        let (opcode, rest) = body.split_once(' ').unwrap_or((body, ""));
        let mut depth = 0;
        let between = |c: char| {
            depth += i32::from("{[(".contains(c)) - i32::from("}])".contains(c));
            c == ',' && depth == 0
        };
        let operands = rest.split(between).map(|operand| operand.trim().to_owned()).collect();
        let parts = opcode.split('.').collect();
        Some(Self { guard: guard.to_owned(), opcode: opcode.to_owned(), operands, parts })
    }

    fn text(&self) -> String {
        let words = [self.guard.as_str(), self.opcode.as_str(), &self.operands.join(", ")];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ") + ";"
    }

    fn with_opcode(&self, opcode: impl Into<String>) -> String {
        Self { opcode: opcode.into(), ..self.clone() }.text()
    }

    fn with_operand(&self, at: usize, operand: String) -> String {
        let mut changed = self.clone();
        changed.operands[at] = operand;
        changed.text()
    }

    /// `add`.
    fn name(&self) -> &'a str {
        self.parts.first().copied().unwrap_or_default()
    }

    /// `f32`.
    fn of_type(&self) -> &'a str {
        self.parts.last().copied().unwrap_or_default()
    }

    fn is_float(&self) -> bool {
        self.of_type().starts_with(['f', 'b']) && self.of_type().contains('f')
    }

    fn is_integer(&self) -> bool {
        self.of_type().strip_prefix(['s', 'u', 'b']).is_some_and(|bits| bits.parse::<u32>().is_ok())
    }

    /// Bits of the type.
    fn bits(&self) -> i128 {
        self.of_type().trim_start_matches(char::is_alphabetic).parse().unwrap_or(0)
    }

    /// Every fault: its kind and the new line.
    fn faults(&self) -> Vec<(Kind, String)> {
        let mut all = Vec::new();
        let name = self.name();
        for (at, operand) in self.operands.iter().enumerate().skip(1) {
            if let Some(constant) = nudged(operand) {
                all.push((Kind::Constant, self.with_operand(at, constant)));
            }
            let Some(n) = operand.parse::<i128>().ok().filter(|_| self.is_integer()) else { continue };
            match name {
                "add" | "sub" | "mad" | "mul" => all.push((Kind::Index, self.with_operand(at, next(n)))),
                "mov" => all.push((Kind::Constant, self.with_operand(at, next(n)))),
                "shl" | "shr" => all.extend(self.shifts(at, n)),
                _ => {}
            }
        }
        all.extend(self.neighbour().map(|new| (Kind::Offset, new)));
        match name {
            "setp" => all.extend(self.comparison().map(|new| (Kind::Comparison, new))),
            "bra" if !self.guard.is_empty() => all.push((Kind::Branch, self.turned())),
            "bar" | "barrier" if self.parts.contains(&"sync") => all.push((Kind::Barrier, String::new())),
            "selp" if self.operands.len() == 4 => {
                let mut changed = self.clone();
                changed.operands.swap(1, 2);
                all.push((Kind::Selection, changed.text()));
            }
            _ => all.extend(self.other_operation().map(|new| (Kind::Arithmetic, new))),
        }
        all
    }

    fn shifts(&self, at: usize, n: i128) -> Vec<(Kind, String)> {
        // `shr.s32 d, a, 31` spreads the sign; one bit less does the same to all but huge numbers.
        if self.of_type().starts_with('s') && n == self.bits() - 1 {
            return Vec::new();
        }
        let amounts = [n - 1, n + 1].into_iter().filter(|n| (0..self.bits()).contains(n));
        amounts.map(|n| (Kind::Shift, self.with_operand(at, n.to_string()))).collect()
    }

    /// The load or store one access further.
    fn neighbour(&self) -> Option<String> {
        if !matches!(self.name(), "ld" | "st" | "atom" | "red") || self.parts.contains(&"param") {
            return None;
        }
        let at = self.operands.iter().position(|operand| operand.starts_with('['))?;
        let inside = self.operands[at].strip_prefix('[')?.strip_suffix(']')?;
        let (base, offset) = inside.split_once('+').unwrap_or((inside, "0"));
        let lanes = self.parts.iter().find_map(|part| part.strip_prefix('v')?.parse::<i128>().ok()).unwrap_or(1);
        let offset = offset.parse::<i128>().ok()? + lanes * self.bits() / 8;
        let address = if offset == 0 { format!("[{base}]") } else { format!("[{base}+{offset}]") };
        Some(self.with_operand(at, address))
    }

    fn comparison(&self) -> Option<String> {
        let (head, rest) = self.opcode.strip_prefix("setp.")?.split_once('.')?;
        let pairs = [("lt", "le"), ("gt", "ge"), ("eq", "ne"), ("lo", "ls"), ("hi", "hs")];
        let unordered = [("ltu", "leu"), ("gtu", "geu"), ("equ", "neu")];
        let flipped = pairs.into_iter().chain(unordered).find_map(|(a, b)| match head {
            _ if head == a => Some(b),
            _ if head == b => Some(a),
            _ => None,
        })?;
        Some(self.with_opcode(format!("setp.{flipped}.{rest}")))
    }

    fn turned(&self) -> String {
        let guard = match self.guard.strip_prefix("@!") {
            Some(predicate) => format!("@{predicate}"),
            None => self.guard.replacen('@', "@!", 1),
        };
        Self { guard, ..self.clone() }.text()
    }

    fn other_operation(&self) -> Option<String> {
        let name = self.name();
        let nothing_added = self.operands.iter().any(|o| ["0f00000000", "0d0000000000000000"].contains(&o.as_str()));
        let other = match name {
            "min" => "max",
            "max" => "min",
            "neg" | "abs" if matches!(self.bits(), 32 | 64) => {
                return Some(self.with_opcode(format!("mov.{}", self.of_type())));
            }
            _ if !self.is_float() => return None,
            "add" if !nothing_added => "sub",
            "sub" if !nothing_added => "add",
            "mul" => "add",
            "div" if self.parts.contains(&"rn") => "mul",
            // The sum is lost.
            "fma" if self.operands.len() == 4 => {
                let mut changed = self.clone();
                changed.operands.truncate(3);
                return Some(changed.with_opcode(self.opcode.replacen("fma", "mul", 1)));
            }
            _ => return None,
        };
        Some(self.with_opcode(self.opcode.replacen(name, other, 1)))
    }
}

/// The next integer, or the one before where the next does not fit.
fn next(n: i128) -> String {
    let largest = [i128::from(i32::MAX), i128::from(u32::MAX), i128::from(i64::MAX), i128::from(u64::MAX)];
    (if largest.contains(&n) { n - 1 } else { n + 1 }).to_string()
}

/// A floating-point constant 1 % off; 1 in the place of zero, infinity and NaN.
fn nudged(text: &str) -> Option<String> {
    let other = |value: f64, largest: f64| match value {
        v if v == 0.0 || !v.is_finite() => 1.0,
        v if v.abs() > largest / 2.0 => v * 0.99,
        v => v * 1.01,
    };
    if let Some(digits) = text.strip_prefix("0f").filter(|digits| digits.len() == 8) {
        let bits = u32::from_str_radix(digits, 16).ok()?;
        let changed = (other(f32::from_bits(bits).into(), f32::MAX.into()) as f32).to_bits();
        return Some(format!("0f{:08X}", if changed == bits { bits ^ 1 } else { changed }));
    }
    let digits = text.strip_prefix("0d").filter(|digits| digits.len() == 16)?;
    let bits = u64::from_str_radix(digits, 16).ok()?;
    let changed = other(f64::from_bits(bits), f64::MAX).to_bits();
    Some(format!("0d{:016X}", if changed == bits { bits ^ 1 } else { changed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of one instruction, as `kind: new line`.
    fn of(line: &str) -> Vec<String> {
        let body = bodies(&format!(".visible .entry k(\n\t.param .u64 a\n)\n{{\n\t.reg .b32 %r<3>;\n\t{line}\n}}\n"));
        body[0].faults.iter().map(|f| format!("{}: {}", f.kind.name(), f.new)).collect()
    }

    #[test]
    fn bodies_are_found_with_their_lines() {
        let ptx = ".version 7.0\n.func helper()\n{\n\tadd.s32 \t%r1, %r2, 1;\n}\n.visible .entry one(\n\
            \t.param .u64 p\n)\n{\n\t.reg .b32 %r<3>;\n\n\tld.param.u64 \t%rd1, [p+8];\n$L__BB0_1:\n\
            \tadd.s32 \t%r1, %r2, 1;\n\tret;\n}\n\
            .visible .entry two()\n{\n\tbar.sync \t0;\n\tret;\n}\n";
        let all = bodies(ptx);
        assert_eq!(all.iter().map(|b| b.entry.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!((all[0].trap.line, all[0].trap.old.as_str()), (12, "ld.param.u64 %rd1, [p+8];"));
        let fault = |line, kind, old: &str, new: &str| Fault { line, kind, old: old.into(), new: new.into() };
        assert_eq!(all[0].faults, [fault(14, Kind::Index, "add.s32 %r1, %r2, 1;", "add.s32 %r1, %r2, 2;")]);
        assert_eq!(all[1].faults, [fault(19, Kind::Barrier, "bar.sync 0;", "")]);
    }

    #[test]
    fn integers_are_one_off() {
        assert_eq!(of("add.s32 \t%r9, %r28, -1;"), ["index: add.s32 %r9, %r28, 0;"]);
        assert_eq!(of("mul.wide.u32 %rd20, %r37, 4;"), ["index: mul.wide.u32 %rd20, %r37, 5;"]);
        assert_eq!(of("mad.lo.s32 %r1, %r2, 3, %r4;"), ["index: mad.lo.s32 %r1, %r2, 4, %r4;"]);
        assert_eq!(of("mov.u32 %r1, 4294967295;"), ["constant: mov.u32 %r1, 4294967294;"]);
        assert_eq!(of("shl.b32 %r1, %r2, 0;"), ["shift: shl.b32 %r1, %r2, 1;"]);
        assert_eq!(of("shr.u32 %r1, %r2, 3;"), ["shift: shr.u32 %r1, %r2, 2;", "shift: shr.u32 %r1, %r2, 4;"]);
        assert!(of("shr.s32 %r1, %r2, 31;").is_empty() && of("mov.u32 %r1, %tid.x;").is_empty());
    }

    #[test]
    fn accesses_touch_the_neighbour() {
        assert_eq!(of("ld.global.nc.f32 %f1, [%rd1];"), ["offset: ld.global.nc.f32 %f1, [%rd1+4];"]);
        assert_eq!(of("ld.global.f64 %fd1, [%rd1+-8];"), ["offset: ld.global.f64 %fd1, [%rd1];"]);
        assert_eq!(of("st.shared.v2.f32 [%r1+8], {%f1, %f2};"), ["offset: st.shared.v2.f32 [%r1+16], {%f1, %f2};"]);
        assert!(of("ld.param.v2.u32 {%r1, %r2}, [taps_param_4+8];").is_empty());
    }

    #[test]
    fn comparisons_and_branches_are_turned() {
        assert_eq!(of("setp.lt.s32 %p1, %r1, 3;"), ["comparison: setp.le.s32 %p1, %r1, 3;"]);
        assert_eq!(of("setp.geu.f32 %p1, %f1, %f2;"), ["comparison: setp.gtu.f32 %p1, %f1, %f2;"]);
        assert_eq!(of("@%p3 bra \t$L__BB0_13;"), ["branch: @!%p3 bra $L__BB0_13;"]);
        assert_eq!(of("@!%p3 bra $L__BB0_13;"), ["branch: @%p3 bra $L__BB0_13;"]);
        assert_eq!(of("bar.warp.sync -1;"), ["barrier: "]);
        assert!(of("bra.uni $L__BB0_13;").is_empty() && of("ret;").is_empty());
    }

    #[test]
    fn operations_are_swapped() {
        assert_eq!(of("add.rn.f32 %f1, %f2, %f3;"), ["arithmetic: sub.rn.f32 %f1, %f2, %f3;"]);
        assert_eq!(of("mul.rn.f64 %fd1, %fd2, %fd3;"), ["arithmetic: add.rn.f64 %fd1, %fd2, %fd3;"]);
        assert_eq!(of("fma.rn.f32 %f1, %f2, %f3, %f4;"), ["arithmetic: mul.rn.f32 %f1, %f2, %f3;"]);
        assert_eq!(of("neg.f32 %f1, %f2;"), ["arithmetic: mov.f32 %f1, %f2;"]);
        assert_eq!(of("max.s32 %r1, %r2, 0;"), ["arithmetic: min.s32 %r1, %r2, 0;"]);
        assert_eq!(of("selp.b32 %r1, %r2, %r3, %p1;"), ["selection: selp.b32 %r1, %r3, %r2, %p1;"]);
        assert_eq!(of("add.rn.f32 %f1, %f2, 0f00000000;"), ["constant: add.rn.f32 %f1, %f2, 0f3F800000;"]);
        assert!(of("selp.b32 %r1, %r2, %r2, %p1;").is_empty() && of("sub.s32 %r1, %r2, %r3;").is_empty());
    }

    #[test]
    fn constants_are_one_percent_off() {
        assert_eq!(nudged("0f00000000").as_deref(), Some("0f3F800000"));
        assert_eq!(nudged("0f3F800000").as_deref(), Some("0f3F8147AE"));
        assert_eq!(nudged("0f00000001").as_deref(), Some("0f00000000"));
        assert_eq!(nudged("0d7FF0000000000000").as_deref(), Some("0d3FF0000000000000"));
        assert!(nudged("0f7F7FFFFF").is_some_and(|text| !text.starts_with("0f7F8")));
        assert!(nudged("%f1").is_none() && nudged("0").is_none());
    }
}
