//! Reading the plan: the JSON that says which profiles, counters and bounds the engine works with.
//!
//! Strict, and everything wrong is told at once: each [`Problem`] carries the dotted path of the value, so that the caller
//! can name file and line of the TOML it came from.

use serde_json::{Map, Value};

/// One thing that is wrong in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path in the plan, as `profiles[2].map[0].from`.
    pub path: String,
    /// What is wrong, lower case, no full stop.
    pub reason: String,
}

/// Everything found wrong so far.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Notes a problem.
    pub fn add(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Problem { path: path.into(), reason: reason.into() });
    }
}

/// A table of the plan that knows which of its keys were asked for.
pub struct Table<'j> {
    path: String,
    entries: &'j Map<String, Value>,
    asked: Vec<&'static str>,
}

impl<'j> Table<'j> {
    /// The table at `path`; a problem where it isn't one.
    pub fn of(value: &'j Value, path: impl Into<String>, problems: &mut Problems) -> Option<Self> {
        let path = path.into();
        if let Some(entries) = value.as_object() {
            Some(Self { path, entries, asked: Vec::new() })
        } else {
            problems.add(path, format!("expected a table, not {}", kind_of(value)));
            None
        }
    }

    /// The dotted path of one of its keys.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Its own dotted path.
    pub fn own_path(&self) -> &str {
        &self.path
    }

    /// A value; None where there is none.
    pub fn get(&mut self, key: &'static str) -> Option<&'j Value> {
        self.asked.push(key);
        self.entries.get(key)
    }

    /// A text; a problem where it is something else.
    pub fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'j str> {
        let value = self.get(key)?;
        let text = value.as_str();
        if text.is_none() {
            problems.add(self.path(key), format!("expected a text, not {}", kind_of(value)));
        }
        text
    }

    /// A text that must be there and not empty.
    pub fn required_text(&mut self, key: &'static str, problems: &mut Problems) -> &'j str {
        if self.entries.get(key).is_none() {
            self.asked.push(key);
            problems.add(self.path.clone(), format!("{key} is missing"));
            return "";
        }
        let text = self.text(key, problems);
        if text == Some("") {
            problems.add(self.path(key), "must not be empty");
        }
        text.unwrap_or("")
    }

    /// A whole number from 0; a problem where it is something else.
    pub fn number(&mut self, key: &'static str, problems: &mut Problems) -> Option<u64> {
        let value = self.get(key)?;
        let number = value.as_u64();
        if number.is_none() {
            problems.add(self.path(key), format!("expected a whole number from 0, not {}", kind_of(value)));
        }
        number
    }

    /// True or false; a problem where it is something else.
    pub fn flag(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        let value = self.get(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            problems.add(self.path(key), format!("expected true or false, not {}", kind_of(value)));
        }
        flag
    }

    /// One text or a list of them; numbers count as text where `numbers` says so (the columns of a CSV profile).
    pub fn texts(&mut self, key: &'static str, numbers: bool, problems: &mut Problems) -> Vec<String> {
        let path = self.path(key);
        self.get(key).map_or_else(Vec::new, |value| texts(value, &path, numbers, problems))
    }

    /// The items of a list of tables, each with its path.
    pub fn list(&mut self, key: &'static str, problems: &mut Problems) -> Vec<(&'j Value, String)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let path = self.path(key);
        if let Some(items) = value.as_array() {
            items.iter().enumerate().map(|(i, item)| (item, format!("{path}[{i}]"))).collect()
        } else {
            problems.add(path, format!("expected a list, not {}", kind_of(value)));
            Vec::new()
        }
    }

    /// Every entry of the table, each with its path; no key is unknown then.
    pub fn entries(self) -> Vec<(&'j str, &'j Value, String)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value, self.path(key))).collect()
    }

    /// Ends the reading: keys that nobody asked for are problems.
    pub fn finish(self, problems: &mut Problems) {
        for key in self.entries.keys() {
            if !self.asked.contains(&key.as_str()) {
                let known = self.asked.join(", ");
                problems.add(self.path(key), format!("unknown key; known here: {known}"));
            }
        }
    }
}

/// One text or a list of them.
pub fn texts(value: &Value, path: &str, numbers: bool, problems: &mut Problems) -> Vec<String> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if numbers => Some(number.to_string()),
        _ => None,
    };
    let found: Option<Vec<String>> = if let Some(items) = value.as_array() {
        items.iter().map(one).collect()
    } else {
        one(value).map(|text| vec![text])
    };
    found.unwrap_or_else(|| {
        let wanted = if numbers { "a text, a number or a list of them" } else { "a text or a list of texts" };
        problems.add(path, format!("expected {wanted}, not {}", kind_of(value)));
        Vec::new()
    })
}

/// What a JSON value is, in words.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tells_everything_wrong_with_its_path() {
        let value = json!({"name": 5, "extra": 1, "list": {"a": 1}, "count": -1});
        let mut problems = Problems::default();
        let mut table = Table::of(&value, "top", &mut problems).unwrap();

        table.required_text("name", &mut problems);
        table.required_text("title", &mut problems);
        table.list("list", &mut problems);
        table.number("count", &mut problems);
        table.finish(&mut problems);

        let paths: Vec<&str> = problems.0.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(["top.name", "top", "top.list", "top.count", "top.extra"], paths[..]);
    }
}
