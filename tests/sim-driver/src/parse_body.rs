//! Tokens of a function's body into statements.

use crate::lex::{SyntaxError, What};
use crate::parse::{MOST_NAMED, Parser, space};
use crate::ptx::{Function, Instruction, Operand, Source, Space, Statement};

type Result<T> = std::result::Result<T, SyntaxError>;

impl Parser {
    pub(crate) fn body(&mut self, function: &mut Function) -> Result<()> {
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
        let at = (self.integer()? as u32, self.integer()? as u32);
        self.integer()?;
        // `, function_name LABEL, inlined_at file line column`
        let here = self.tokens[self.at - 1].line;
        let mut call = None;
        while self.at < self.tokens.len() && self.line() == here {
            if self.take_word("inlined_at") {
                call = Some((self.integer()? as u32, self.integer()? as u32));
            } else {
                self.at += 1;
            }
        }
        function.sources.push(Source { at, call });
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
                let all = self.integer()?;
                if !(0..=MOST_NAMED).contains(&all) {
                    return self.error(format!("{all} registers {name}"));
                }
                count = Some(all as u32);
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

    pub(crate) fn operand(&mut self) -> Result<Operand> {
        self.deeper(Self::any_operand)
    }

    fn any_operand(&mut self) -> Result<Operand> {
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
