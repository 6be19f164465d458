//! Tokens into a tree.

use crate::lex::{SyntaxError, Token, What, tokens};
use crate::ptx::{Function, Instruction, Module, Operand, Space, Statement, Type, Variable};

type Result<T> = std::result::Result<T, SyntaxError>;

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

/// Reads a module.
pub(crate) fn module(text: &str) -> Result<Module> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let mut module = Module::default();
    while parser.at < parser.tokens.len() {
        parser.top(&mut module)?;
    }
    if module.version.is_empty() || module.target.is_empty() {
        return Err(SyntaxError { line: 1, why: "no .version and .target: this is not PTX".into() });
    }
    Ok(module)
}

fn space(word: &str) -> Option<Space> {
    Some(match word {
        ".global" => Space::Global,
        ".const" => Space::Const,
        ".shared" => Space::Shared,
        ".local" => Space::Local,
        ".param" => Space::Param,
        _ => return None,
    })
}

impl Parser {
    fn line(&self) -> u32 {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens.get(self.at.min(last)).map_or(1, |token| token.line)
    }

    fn error<T>(&self, why: impl Into<String>) -> Result<T> {
        Err(SyntaxError { line: self.line(), why: why.into() })
    }

    fn peek(&self) -> Option<&What> {
        self.tokens.get(self.at).map(|token| &token.what)
    }

    fn is(&self, mark: char) -> bool {
        self.peek() == Some(&What::Mark(mark))
    }

    fn take(&mut self, mark: char) -> bool {
        let found = self.is(mark);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: char) -> Result<()> {
        if self.take(mark) {
            return Ok(());
        }
        let found = self.peek().map_or_else(|| "the end".to_owned(), ToString::to_string);
        self.error(format!("expected `{mark}`, found `{found}`"))
    }

    fn word(&mut self) -> Result<String> {
        match self.peek() {
            Some(What::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            other => {
                let found = other.map_or_else(|| "the end".to_owned(), ToString::to_string);
                self.error(format!("expected a name, found `{found}`"))
            }
        }
    }

    fn peek_word(&self) -> Option<&str> {
        match self.peek() {
            Some(What::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek_word() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn integer(&mut self) -> Result<i64> {
        let negative = self.take('-');
        match self.peek() {
            Some(&What::Integer(value)) => {
                self.at += 1;
                Ok(if negative { (value as i64).wrapping_neg() } else { value as i64 })
            }
            _ => self.error("expected an integer"),
        }
    }

    fn top(&mut self, module: &mut Module) -> Result<()> {
        let word = self.word()?;
        match word.as_str() {
            ".version" => {
                let line = self.line();
                while self.at < self.tokens.len() && self.line() == line {
                    // A version looks like a decimal number.
                    match &self.tokens[self.at].what {
                        What::Double(bits) => module.version = format!("{:?}", f64::from_bits(*bits)),
                        other => module.version.push_str(&other.to_string()),
                    }
                    self.at += 1;
                }
            }
            ".target" => {
                module.target = self.word()?;
                while self.take(',') {
                    self.word()?;
                }
            }
            ".address_size" => {
                if self.integer()? != 64 {
                    return self.error("only 64 bit addresses are supported");
                }
            }
            ".file" => {
                let number = self.integer()? as u32;
                match self.peek() {
                    Some(What::Text(name)) => module.files.push((number, name.clone())),
                    _ => return self.error("expected a file's name"),
                }
                self.at += 1;
                while self.take(',') {
                    self.integer()?;
                }
            }
            ".section" => self.skip_braces()?,
            ".visible" | ".extern" | ".weak" | ".common" => {
                let is_extern = word == ".extern";
                self.declaration(module, is_extern)?;
            }
            ".pragma" => self.skip_to_semicolon(),
            ".alias" => return self.error("Unsupported: .alias"),
            _ => {
                self.at -= 1;
                self.declaration(module, false)?;
            }
        }
        Ok(())
    }

    fn skip_to_semicolon(&mut self) {
        while self.at < self.tokens.len() && !self.take(';') {
            self.at += 1;
        }
    }

    fn skip_braces(&mut self) -> Result<()> {
        while !self.is('{') {
            if self.at >= self.tokens.len() {
                return self.error("expected `{`");
            }
            self.at += 1;
        }
        while self.at < self.tokens.len() && !self.take('}') {
            self.at += 1;
        }
        Ok(())
    }

    fn declaration(&mut self, module: &mut Module, is_extern: bool) -> Result<()> {
        let line = self.line();
        match self.peek_word() {
            Some(".entry" | ".func") => {
                let function = self.function(line)?;
                // A declaration comes before its definition.
                if let Some(known) = module.functions.iter_mut().find(|known| known.name == function.name) {
                    if known.body.is_empty() {
                        *known = function;
                    }
                } else {
                    module.functions.push(function);
                }
                Ok(())
            }
            Some(word) => {
                if let Some(space) = space(word) {
                    self.at += 1;
                    for variable in self.variables(space, is_extern)? {
                        module.variables.push(variable);
                    }
                    Ok(())
                } else {
                    let word = word.to_owned();
                    self.error(format!("Unsupported: directive {word}"))
                }
            }
            None => self.error("expected a declaration"),
        }
    }

    /// What follows the space: `.align 4 .b8 name[16] = {…};`
    fn variables(&mut self, space: Space, is_extern: bool) -> Result<Vec<Variable>> {
        let mut all = Vec::new();
        let (ty, align) = self.typed()?;
        loop {
            let variable = self.variable(space, ty, align, is_extern)?;
            // `.param .b32 name<4>` declares name0 to name3.
            all.extend(variable);
            if !self.take(',') {
                break;
            }
        }
        self.expect(';')?;
        Ok(all)
    }

    fn typed(&mut self) -> Result<(Type, usize)> {
        let (mut align, mut vector) = (0, 1);
        loop {
            let word = self.word()?;
            match word.as_str() {
                ".align" => align = self.integer()?.max(1) as usize,
                ".v2" => vector = 2,
                ".v4" => vector = 4,
                ".ptr" | ".attribute" | ".managed" => return self.error(format!("Unsupported: {word}")),
                _ => {
                    let ty = word.strip_prefix('.').and_then(Type::parse);
                    let Some(ty) = ty else { return self.error(format!("`{word}` is not a type")) };
                    if vector > 1 {
                        return self.error("Unsupported: vector variables");
                    }
                    return Ok((ty, align.max(ty.bytes())));
                }
            }
        }
    }

    fn variable(&mut self, space: Space, ty: Type, align: usize, is_extern: bool) -> Result<Vec<Variable>> {
        let name = self.word()?;
        if self.take('<') {
            let count = self.integer()?;
            self.expect('>')?;
            let one = |i| Variable {
                space,
                name: format!("{name}{i}"),
                align,
                size: ty.bytes(),
                is_extern,
                contents: Vec::new(),
                addresses: Vec::new(),
            };
            return Ok((0..count).map(one).collect());
        }
        let mut size = ty.bytes();
        let mut open = false;
        while self.take('[') {
            if self.take(']') {
                open = true;
                continue;
            }
            let count = self.integer()?;
            let whole = usize::try_from(count).ok().and_then(|count| size.checked_mul(count));
            let Some(whole) = whole.filter(|&whole| whole < 1 << 40) else {
                return self.error(format!("`{name}` has {count} elements"));
            };
            size = whole;
            self.expect(']')?;
        }
        let (mut contents, mut addresses) = (Vec::new(), Vec::new());
        if self.take('=') {
            self.initial(ty, &mut contents, &mut addresses)?;
            if open {
                size = contents.len();
                open = false;
            }
        }
        if open {
            size = 0;
        }
        Ok(vec![Variable { space, name, align, size, is_extern, contents, addresses }])
    }

    fn initial(&mut self, ty: Type, out: &mut Vec<u8>, addresses: &mut Vec<(usize, String, i64)>) -> Result<()> {
        if self.take('{') {
            while !self.take('}') {
                self.initial(ty, out, addresses)?;
                self.take(',');
            }
            return Ok(());
        }
        let bits = match self.operand()? {
            Operand::Integer(bits) => bits,
            Operand::Single(bits) => bits.into(),
            Operand::Double(bits) if ty == Type::F32 => (f64::from_bits(bits) as f32).to_bits().into(),
            Operand::Double(bits) => bits,
            Operand::Name(name) if ty.bytes() == 8 => {
                addresses.push((out.len(), name, 0));
                0
            }
            Operand::Sum(name, offset) if ty.bytes() == 8 => {
                addresses.push((out.len(), name, offset));
                0
            }
            _ => return self.error("Unsupported: this initial value"),
        };
        out.extend(&bits.to_le_bytes()[..ty.bytes().min(8)]);
        Ok(())
    }

    fn parameters(&mut self) -> Result<Vec<Variable>> {
        let mut all = Vec::new();
        self.expect('(')?;
        while !self.take(')') {
            let word = self.word()?;
            if word != ".param" && word != ".reg" {
                return self.error(format!("expected .param, found {word}"));
            }
            if word == ".reg" {
                return self.error("Unsupported: parameters in registers");
            }
            let (ty, align) = self.parameter_type()?;
            all.extend(self.variable(Space::Param, ty, align, false)?);
            self.take(',');
        }
        Ok(all)
    }

    /// As [`typed`](Self::typed), and `.ptr .global .align 4` of a kernel's parameters.
    fn parameter_type(&mut self) -> Result<(Type, usize)> {
        let (mut align, mut ty) = (0, None);
        while let Some(word) = self.peek_word().filter(|word| word.starts_with('.')) {
            let word = word.to_owned();
            self.at += 1;
            match word.as_str() {
                ".align" => {
                    let value = self.integer()?.max(1) as usize;
                    // Behind the type it is the alignment of what the pointer points to.
                    if ty.is_none() {
                        align = value;
                    }
                }
                ".ptr" | ".global" | ".shared" | ".local" | ".const" => {}
                _ => match Type::parse(&word[1..]) {
                    Some(found) => ty = Some(found),
                    None => return self.error(format!("`{word}` is not a type")),
                },
            }
        }
        match ty {
            Some(ty) => Ok((ty, align.max(ty.bytes()))),
            None => self.error("a parameter has no type"),
        }
    }

    fn function(&mut self, line: u32) -> Result<Function> {
        let is_entry = self.word()? == ".entry";
        let mut function = Function { is_entry, line, ..Function::default() };
        if self.is('(') {
            function.results = self.parameters()?;
        }
        function.name = self.word()?;
        if self.is('(') {
            function.parameters = self.parameters()?;
        }
        loop {
            if self.take(';') {
                return Ok(function);
            }
            if self.take('{') {
                break;
            }
            let word = self.word()?;
            match word.as_str() {
                ".maxntid" | ".reqntid" => {
                    let mut threads = self.integer()?;
                    while self.take(',') {
                        threads = threads.saturating_mul(self.integer()?);
                    }
                    function.most_threads = Some(threads.clamp(1, 1024) as u32);
                }
                ".minnctapersm" | ".maxnreg" | ".maxnctapersm" => {
                    self.integer()?;
                }
                ".noreturn" => {}
                ".pragma" => self.skip_to_semicolon(),
                _ => return self.error(format!("Unsupported: directive {word}")),
            }
        }
        self.body(&mut function)?;
        Ok(function)
    }

    fn body(&mut self, function: &mut Function) -> Result<()> {
        let mut depth = 1;
        let mut source = 0;
        while depth > 0 {
            if self.take('{') {
                depth += 1;
                function.body.push(Statement::Open);
                continue;
            }
            if self.take('}') {
                depth -= 1;
                if depth > 0 {
                    function.body.push(Statement::Close);
                }
                continue;
            }
            if self.take(';') {
                continue;
            }
            let word = match self.peek() {
                Some(What::Word(word)) => word.clone(),
                Some(What::Mark('@')) => String::new(),
                _ => return self.error("expected an instruction"),
            };
            match word.as_str() {
                ".loc" => {
                    source = self.location(function)?;
                }
                ".reg" => {
                    self.at += 1;
                    self.registers(function)?;
                }
                ".pragma" => self.skip_to_semicolon(),
                _ if space(&word).is_some() => {
                    self.at += 1;
                    let space = space(&word).unwrap_or(Space::Local);
                    let all = self.variables(space, false)?;
                    function.body.extend(all.into_iter().map(Statement::Variable));
                }
                _ if self.tokens.get(self.at + 1).is_some_and(|next| next.what == What::Mark(':')) => {
                    self.at += 2;
                    self.label(function, word)?;
                }
                _ => {
                    let instruction = self.instruction(source)?;
                    function.body.push(Statement::Instruction(instruction));
                }
            }
        }
        Ok(())
    }

    fn location(&mut self, function: &mut Function) -> Result<u32> {
        self.at += 1;
        let file = self.integer()? as u32;
        let line = self.integer()? as u32;
        self.integer()?;
        // `, function_name LABEL, inlined_at file line column`
        let here = self.tokens[self.at - 1].line;
        while self.at < self.tokens.len() && self.line() == here {
            self.at += 1;
        }
        function.sources.push((file, line));
        Ok(function.sources.len() as u32)
    }

    fn label(&mut self, function: &mut Function, name: String) -> Result<()> {
        if self.take_word(".branchtargets") {
            let mut targets = vec![self.word()?];
            while self.take(',') {
                targets.push(self.word()?);
            }
            self.expect(';')?;
            function.body.push(Statement::Targets(name, targets));
        } else if matches!(self.peek_word(), Some(".callprototype" | ".calltargets")) {
            return self.error("Unsupported: calls through pointers");
        } else {
            function.body.push(Statement::Label(name));
        }
        Ok(())
    }

    fn registers(&mut self, function: &mut Function) -> Result<()> {
        let (ty, _) = self.typed()?;
        loop {
            let name = self.word()?;
            let mut count = None;
            if self.take('<') {
                count = Some(self.integer()?.clamp(0, 1 << 20) as u32);
                self.expect('>')?;
            }
            function.body.push(Statement::Registers(ty, name, count));
            if !self.take(',') {
                break;
            }
        }
        self.expect(';')
    }

    fn instruction(&mut self, source: u32) -> Result<Instruction> {
        let line = self.line();
        let mut guard = None;
        if self.take('@') {
            let negated = self.take('!');
            guard = Some((self.word()?, negated));
        }
        let opcode = self.word()?;
        let mut operands = Vec::new();
        while !self.take(';') {
            operands.push(self.operand()?);
            if !self.is(';') {
                self.expect(',')?;
            }
        }
        Ok(Instruction { line, source, guard, opcode, operands })
    }

    fn list(&mut self, end: char) -> Result<Operand> {
        let mut all = Vec::new();
        while !self.take(end) {
            all.push(self.operand()?);
            if !self.is(end) {
                self.expect(',')?;
            }
        }
        Ok(Operand::List(all))
    }

    fn operand(&mut self) -> Result<Operand> {
        if self.take('{') {
            return self.list('}');
        }
        if self.take('(') {
            return self.list(')');
        }
        if self.take('[') {
            let base = self.operand()?;
            let operand = match base {
                Operand::Sum(name, offset) => Operand::Address(Box::new(Operand::Name(name)), offset),
                other => Operand::Address(Box::new(other), 0),
            };
            self.expect(']')?;
            return Ok(operand);
        }
        if self.take('!') {
            return Ok(Operand::Not(Box::new(self.operand()?)));
        }
        if self.take('-') {
            return Ok(match self.operand()? {
                Operand::Integer(value) => Operand::Integer(value.wrapping_neg()),
                Operand::Double(bits) => Operand::Double((-f64::from_bits(bits)).to_bits()),
                other => Operand::Negated(Box::new(other)),
            });
        }
        let what = self.peek().cloned();
        self.at += 1;
        match what {
            Some(What::Integer(value)) => Ok(Operand::Integer(value)),
            Some(What::Single(bits)) => Ok(Operand::Single(bits)),
            Some(What::Double(bits)) => Ok(Operand::Double(bits)),
            Some(What::Word(word)) => {
                if self.take('|') {
                    let second = self.operand()?;
                    return Ok(Operand::Pair(Box::new(Operand::Name(word)), Box::new(second)));
                }
                if self.take('+') {
                    let offset = self.integer()?;
                    return Ok(Operand::Sum(word, offset));
                }
                if self.is('-') {
                    let offset = self.integer()?;
                    return Ok(Operand::Sum(word, offset));
                }
                Ok(Operand::Name(word))
            }
            _ => {
                self.at -= 1;
                self.error("expected an operand")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(k.sources, [(1, 7)]);
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
}
