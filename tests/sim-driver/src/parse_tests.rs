//! Tests of the parser.

use crate::lex::SyntaxError;
use crate::parse::module;
use crate::ptx::{Module, Operand, Statement};

type Result<T> = std::result::Result<T, SyntaxError>;

const HEAD: &str = ".version 7.0\n.target sm_75\n.address_size 64\n";

fn parse(rest: &str) -> Result<Module> {
    module(&format!("{HEAD}{rest}"))
}

#[test]
fn an_entry_with_everything() {
    let text = ".extern .shared .align 16 .b8 piece[];\n.const .f32 table[2] = {0f3F800000, 2.0};\n\
        .visible .entry k(.param .u64 a, .param .align 4 .b8 b[12]) .maxntid 128, 2, 1\n{\n.reg .pred %p<2>;\n\
        .reg .b32 %r<4>, x;\n.loc 1 7 3\n@!%p1 bra $L;\nld.global.v2.f32 {%f1, %f2}, [%rd1+-8];\n$L:\nret;\n}";
    let module = parse(text).unwrap();
    assert_eq!(module.version, "7.0");
    assert_eq!((module.variables[0].size, module.variables[0].align), (0, 16));
    assert_eq!(module.variables[1].contents, [0, 0, 0x80, 0x3F, 0, 0, 0, 0x40]);
    let k = &module.functions[0];
    assert_eq!((k.parameters[1].size, k.most_threads), (12, Some(256)));
    let branch = k.body.iter().find_map(|s| match s {
        Statement::Instruction(i) if i.opcode == "bra" => Some(i),
        _ => None,
    });
    let branch = branch.unwrap();
    assert_eq!((branch.guard.clone(), branch.source, branch.line), (Some(("%p1".into(), true)), 1, 11));
    assert_eq!(k.sources, [crate::ptx::Source { at: (1, 7), call: None }]);
    let load = k.body.iter().find_map(|s| match s {
        Statement::Instruction(i) if i.opcode.starts_with("ld") => Some(i),
        _ => None,
    });
    assert_eq!(load.unwrap().operands[1], Operand::Address(Box::new(Operand::Name("%rd1".into())), -8));
}

#[test]
fn faults_name_their_line() {
    for (text, line) in [(".entry k() {\nadd.s32 %r1 %r2;\n}", 5), (".entry k() {\n", 4), (".strange x;", 4)] {
        assert_eq!(parse(text).unwrap_err().line, line, "{text}");
    }
    assert!(module("hello").is_err() && module("").is_err());
}
