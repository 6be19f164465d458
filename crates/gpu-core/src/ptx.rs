//! Reads the kernels of a PTX text: their names and the sizes of their parameters.
//!
//! A launch passes bytes; whether they are what the kernel expects is written only in its `.entry` line. Comparing the
//! two finds a parameter structure with a wrong layout before anything runs, and on a machine without a GPU:
//!
//! ```
//! let ptx = ".visible .entry scale_f32( .param .u64 x, .param .align 8 .b8 p[16] ) { ret; }";
//! #[repr(C)]
//! struct ScaleParams { count: u64, factor: f32 }
//! assert_eq!(gpu_core::ptx::entry_params(ptx, "scale_f32").unwrap(), [8, size_of::<ScaleParams>()]);
//! ```

/// A kernel of a PTX text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its symbol.
    pub name: String,
    /// Bytes of each parameter, in order.
    pub parameters: Vec<usize>,
}

/// Every kernel of a PTX text, in its order; entries that cannot be read are left out.
pub fn entries(ptx: &str) -> Vec<Entry> {
    let text = without_comments(ptx);
    text.split(".entry").skip(1).filter_map(entry).collect()
}

/// Bytes of each parameter of one kernel; `None` when the text has no such kernel.
pub fn entry_params(ptx: &str, name: &str) -> Option<Vec<usize>> {
    entries(ptx).into_iter().find(|entry| entry.name == name).map(|entry| entry.parameters)
}

/// `name ( .param …, .param … )`, with or without the parentheses.
fn entry(text: &str) -> Option<Entry> {
    let text = text.trim_start();
    let end = text.find(|c: char| !is_name(c))?;
    let name = text.get(..end).filter(|name| !name.is_empty())?.to_owned();
    let rest = text.get(end..)?.trim_start();
    let parameters = match rest.strip_prefix('(') {
        Some(list) => {
            let (list, _) = list.split_once(')')?;
            let list = list.split(',').map(str::trim).filter(|parameter| !parameter.is_empty());
            list.map(parameter_bytes).collect::<Option<Vec<usize>>>()?
        }
        None => Vec::new(),
    };
    Some(Entry { name, parameters })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%')
}

/// `.param .u64 .ptr .global .align 8 name` or `.param .align 8 .b8 name[32]`.
fn parameter_bytes(text: &str) -> Option<usize> {
    let scalar = text.split_whitespace().find_map(type_bytes)?;
    let Some((_, count)) = text.split_once('[') else {
        return Some(scalar);
    };
    let (count, _) = count.split_once(']')?;
    scalar.checked_mul(count.trim().parse().ok()?)
}

/// Bytes of a fundamental type: `.f32` has 4.
fn type_bytes(word: &str) -> Option<usize> {
    let kind = word.strip_prefix('.')?;
    match kind.strip_prefix(['b', 'u', 's', 'f'])? {
        "8" => Some(1),
        "16" => Some(2),
        "32" | "16x2" => Some(4),
        "64" => Some(8),
        "128" => Some(16),
        _ => None,
    }
}

fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("/*").into_iter().chain(rest.find("//")).min() {
        let (code, comment) = rest.split_at(at);
        out.push_str(code);
        out.push(' ');
        let (open, end) = if comment.starts_with("//") { (2, "\n") } else { (2, "*/") };
        let body = comment.get(open..).unwrap_or_default();
        rest = body.split_once(end).map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // The shape of what nvcc writes.
    const PTX: &str = "
//
// .entry not_a_kernel(
//
.version 7.0
.target sm_75
.address_size 64

\t// .globl\ttaps_f32
.visible .entry taps_f32(
\t.param .u64 taps_f32_param_0,
\t.param .u64 .ptr .global .align 8 taps_f32_param_1,
\t.param .align 8 .b8 taps_f32_param_2[32],
\t.param .f32 taps_f32_param_3
)
.maxntid 256, 1, 1
{
\t.reg .pred %p<2>;
\tret;
}
.visible .entry nothing_u8()
{
\tret;
}
.entry bare { ret; }
.weak .entry $odd_name( .param .b16 a, .param .u8 b /* one byte, not two */, .param .align 4 .b8 c[ 12 ] )
{ ret; }
";

    #[test]
    fn names_and_sizes() {
        let found = entries(PTX);
        let names: Vec<_> = found.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["taps_f32", "nothing_u8", "bare", "$odd_name"]);
        assert_eq!(found[0].parameters, [8, 8, 32, 4]);
        assert!(found[1].parameters.is_empty() && found[2].parameters.is_empty());
        assert_eq!(found[3].parameters, [2, 1, 12]);
    }

    #[test]
    fn one_kernel_by_name() {
        assert_eq!(entry_params(PTX, "taps_f32").unwrap(), [8, 8, 32, 4]);
        assert_eq!(entry_params(PTX, "taps"), None);
        assert_eq!(entry_params("", "taps"), None);
    }

    #[test]
    fn broken_texts_are_left_out() {
        for text in [
            ".entry",
            ".entry (",
            ".entry a( .param .q9 x ) {}",
            ".entry a( .param .u64 x",
            ".entry a(.param .b8 x[9999999999999999999999])",
            "/* .entry a()",
            ".entry é()",
        ] {
            assert_eq!(entries(text), [], "{text}");
        }
    }
}
