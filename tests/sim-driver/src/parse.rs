//! Tokens into a tree.

use crate::lex::{SyntaxError, Token, What, tokens};
use crate::ptx::{Function, Module, Operand, Space, Type, Variable};

type Result<T> = std::result::Result<T, SyntaxError>;

/// Operands and initial values inside of each other.
const DEEPEST: usize = 64;
/// The largest alignment of a variable, in bytes.
const MOST_ALIGNED: i64 = 1 << 16;
/// Registers, or parameters, that one declaration can name.
pub(crate) const MOST_NAMED: i64 = 1 << 18;

pub(crate) struct Parser {
    pub(crate) tokens: Vec<Token>,
    pub(crate) at: usize,
    depth: usize,
}

/// Reads a module.
pub(crate) fn module(text: &str) -> Result<Module> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    let mut module = Module::default();
    while parser.at < parser.tokens.len() {
        parser.top(&mut module)?;
    }
    if module.version.is_empty() || module.target.is_empty() {
        return Err(SyntaxError { line: 1, why: "no .version and .target: this is not PTX".into() });
    }
    Ok(module)
}

pub(crate) fn space(word: &str) -> Option<Space> {
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
    /// Reads something that may hold more of its kind: as deep as the stack of any thread allows.
    pub(crate) fn deeper<R>(&mut self, read: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        if self.depth == DEEPEST {
            return self.error("nested too deeply");
        }
        self.depth += 1;
        let found = read(self);
        self.depth -= 1;
        found
    }

    fn alignment(&mut self) -> Result<usize> {
        let bytes = self.integer()?;
        if !(1..=MOST_ALIGNED).contains(&bytes) || bytes.count_ones() != 1 {
            return self.error(format!("{bytes} is no alignment"));
        }
        Ok(bytes as usize)
    }

    pub(crate) fn line(&self) -> u32 {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens.get(self.at.min(last)).map_or(1, |token| token.line)
    }

    pub(crate) fn error<T>(&self, why: impl Into<String>) -> Result<T> {
        Err(SyntaxError { line: self.line(), why: why.into() })
    }

    pub(crate) fn peek(&self) -> Option<&What> {
        self.tokens.get(self.at).map(|token| &token.what)
    }

    pub(crate) fn is(&self, mark: char) -> bool {
        self.peek() == Some(&What::Mark(mark))
    }

    pub(crate) fn take(&mut self, mark: char) -> bool {
        let found = self.is(mark);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, mark: char) -> Result<()> {
        if self.take(mark) {
            return Ok(());
        }
        let found = self.peek().map_or_else(|| "the end".to_owned(), ToString::to_string);
        self.error(format!("expected `{mark}`, found `{found}`"))
    }

    pub(crate) fn word(&mut self) -> Result<String> {
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

    pub(crate) fn peek_word(&self) -> Option<&str> {
        match self.peek() {
            Some(What::Word(word)) => Some(word),
            _ => None,
        }
    }

    pub(crate) fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek_word() == Some(word);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn integer(&mut self) -> Result<i64> {
        let negative = self.take('-');
        match self.peek() {
            Some(&What::Integer(value)) => {
                self.at += 1;
                Ok(if negative { (value as i64).wrapping_neg() } else { value as i64 })
            }
            _ => self.error("expected an integer"),
        }
    }

    pub(crate) fn top(&mut self, module: &mut Module) -> Result<()> {
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

    pub(crate) fn skip_to_semicolon(&mut self) {
        while self.at < self.tokens.len() && !self.take(';') {
            self.at += 1;
        }
    }

    pub(crate) fn skip_braces(&mut self) -> Result<()> {
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

    pub(crate) fn declaration(&mut self, module: &mut Module, is_extern: bool) -> Result<()> {
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
    pub(crate) fn variables(&mut self, space: Space, is_extern: bool) -> Result<Vec<Variable>> {
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

    pub(crate) fn typed(&mut self) -> Result<(Type, usize)> {
        let (mut align, mut vector) = (0, 1);
        loop {
            let word = self.word()?;
            match word.as_str() {
                ".align" => align = self.alignment()?,
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

    pub(crate) fn variable(&mut self, space: Space, ty: Type, align: usize, is_extern: bool) -> Result<Vec<Variable>> {
        let name = self.word()?;
        if self.take('<') {
            let count = self.integer()?;
            if !(0..=MOST_NAMED).contains(&count) {
                return self.error(format!("{count} variables {name}"));
            }
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
        if contents.len() > size {
            return self.error(format!("`{name}` has {size} bytes, its initial value {}", contents.len()));
        }
        Ok(vec![Variable { space, name, align, size, is_extern, contents, addresses }])
    }

    pub(crate) fn initial(
        &mut self,
        ty: Type,
        out: &mut Vec<u8>,
        addresses: &mut Vec<(usize, String, i64)>,
    ) -> Result<()> {
        if self.take('{') {
            while !self.take('}') {
                self.deeper(|parser| parser.initial(ty, out, addresses))?;
                self.take(',');
            }
            return Ok(());
        }
        // The variable as a generic address, which for device memory is the same.
        let generic = self.take_word("generic");
        let value = self.operand()?;
        let bits = match value {
            Operand::List(mut inner) if generic && inner.len() == 1 => {
                match inner.pop() {
                    Some(Operand::Name(name)) => addresses.push((out.len(), name, 0)),
                    Some(Operand::Sum(name, offset)) => addresses.push((out.len(), name, offset)),
                    _ => return self.error("expected a variable"),
                }
                0
            }
            _ if generic => return self.error("expected a variable"),
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

    pub(crate) fn parameters(&mut self) -> Result<Vec<Variable>> {
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
    pub(crate) fn parameter_type(&mut self) -> Result<(Type, usize)> {
        let (mut align, mut ty) = (0, None);
        while let Some(word) = self.peek_word().filter(|word| word.starts_with('.')) {
            let word = word.to_owned();
            self.at += 1;
            match word.as_str() {
                ".align" => {
                    let value = self.alignment()?;
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

    pub(crate) fn function(&mut self, line: u32) -> Result<Function> {
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
                ".reqnctapercluster" => {
                    let mut blocks = self.integer()?;
                    while self.take(',') {
                        blocks = blocks.saturating_mul(self.integer()?);
                    }
                    if blocks != 1 {
                        function.unsupported = self.error::<()>("Unsupported: clusters of several blocks").err();
                    }
                }
                ".noreturn" | ".explicitcluster" => {}
                ".pragma" => self.skip_to_semicolon(),
                _ => return self.error(format!("Unsupported: directive {word}")),
            }
        }
        let begin = self.at;
        match self.body(&mut function) {
            // The module's other kernels can do without.
            Err(e) if e.is_unsupported() => {
                self.at = begin;
                self.skip_body()?;
                function.unsupported = Some(e);
            }
            done => done?,
        }
        Ok(function)
    }

    /// What follows the brace that opens a body.
    fn skip_body(&mut self) -> Result<()> {
        let mut depth = 1;
        while depth > 0 {
            match self.peek() {
                Some(What::Mark('{')) => depth += 1,
                Some(What::Mark('}')) => depth -= 1,
                Some(_) => {}
                None => return self.error("expected `}`"),
            }
            self.at += 1;
        }
        Ok(())
    }
}
