//! The `.env` file: `NAME=VALUE` lines. Only what every reader of such files understands alike is taken, systemd's included.

/// One variable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variable {
    /// Its line, from 1.
    pub(super) line: usize,
    /// Its name.
    pub(super) name: String,
    /// Its value.
    pub(super) value: String,
}

/// Reads a file's text: its variables, and the lines that are none with what is wrong. No problem quotes a value.
pub(super) fn parse(text: &str) -> (Vec<Variable>, Vec<(usize, String)>) {
    let (mut variables, mut faults): (Vec<Variable>, _) = (Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let (line_number, line) = (at + 1, line.trim());
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        match variable(line) {
            Ok((name, _)) if variables.iter().any(|other| other.name == name) => {
                let first = variables.iter().find(|other| other.name == name).map_or(0, |other| other.line);
                faults.push((line_number, format!("{name} stands twice; the first is in line {first}")));
            }
            Ok((name, value)) => variables.push(Variable { line: line_number, name, value }),
            Err(problem) => faults.push((line_number, problem.to_owned())),
        }
    }
    (variables, faults)
}

fn variable(line: &str) -> Result<(String, String), &'static str> {
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) =
        line.split_once('=').ok_or("found no `=`, allowed: NAME=VALUE, or a comment beginning with #")?;
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || !name.bytes().all(good) || name.as_bytes()[0].is_ascii_digit() {
        return Err("found something else than a name before `=`, allowed: letters, digits and _, no space around `=`");
    }
    let value = value.trim();
    let value = match value.as_bytes().first() {
        Some(quote @ (b'"' | b'\'')) => quoted(&value[1..], char::from(*quote))?,
        _ if value.contains(['"', '\'', '\\']) || value.contains(" #") => {
            return Err("found a quote, a backslash or ` #` in a value without quotes; put the whole value in quotes");
        }
        _ => value.to_owned(),
    };
    Ok((name.to_owned(), value))
}

/// The rest of a quoted value. In double quotes a backslash makes the next character stand for itself.
fn quoted(rest: &str, quote: char) -> Result<String, &'static str> {
    let (mut value, mut chars) = (String::new(), rest.chars());
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => {
                let after = chars.as_str().trim_start();
                return if after.is_empty() || after.starts_with('#') {
                    Ok(value)
                } else {
                    Err("found text after the closing quote")
                };
            }
            '\\' if quote == '"' => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => value.push(c),
                _ => return Err("found a backslash before something else than \" \\ $ `"),
            },
            c => value.push(c),
        }
    }
    Err("found no closing quote")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_variables_or_faults_with_their_number() {
        let text = "# a comment\n\nQCAT_A=1\nexport QCAT_B='x # y'\n QCAT_C = 2\nQCAT_D=\"a \\\"b\\\\ #\" # why\nnothing\nQCAT_A=3\n\
                    QCAT_E=\"open\nQCAT_F=pa#ss\nQCAT_G=hunter2 # mine\nQCAT_H=\n2X=1\n";
        let (variables, faults) = parse(text);
        let found: Vec<_> = variables.iter().map(|v| (v.line, v.name.as_str(), v.value.as_str())).collect();
        let expected = [
            (3, "QCAT_A", "1"),
            (4, "QCAT_B", "x # y"),
            (6, "QCAT_D", "a \"b\\ #"),
            (10, "QCAT_F", "pa#ss"),
            (12, "QCAT_H", ""),
        ];
        assert_eq!(found, expected);
        assert_eq!(faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [5, 7, 8, 9, 11, 13]);
        assert!(faults.iter().all(|(_, problem)| !problem.contains("hunter")), "{faults:?}");
        assert!(faults[2].1.contains("stands twice; the first is in line 3"), "{faults:?}");
    }
}
