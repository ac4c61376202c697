//! Flags over environment over file over defaults, each value with its origin.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::table::{OTHER_COMMANDS, Repeat, Row, TABLE, row};

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// On the command line.
    Flag(&'static str),
    /// In the environment.
    Variable(String),
    /// In the configuration file.
    File {
        /// Which.
        path: PathBuf,
        /// Which line; 0 when it is about the whole file.
        line: usize,
        /// The key as it stands there.
        key: String,
    },
    /// Nowhere: the built-in default.
    Default(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(key) => write!(f, "--{key}"),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line: 0, .. } => write!(f, "{}", path.display()),
            Self::File { path, line, key } => write!(f, "{}:{line}: {key}", path.display()),
            Self::Default(key) => write!(f, "{key} (default)"),
        }
    }
}

/// The values of one setting, all from the strongest origin that has any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The values as written.
    pub values: Vec<String>,
    /// Where.
    pub origin: Origin,
}

impl Given {
    /// It makes no sense without `other`.
    pub fn needs(&self, other: &str) -> ConfigError {
        ConfigError { origin: self.origin.clone(), problem: format!("needs --{other} beside it") }
    }
}

/// Everything that was given.
#[derive(Debug, Default)]
pub struct Layers(BTreeMap<&'static str, Given>);

impl Layers {
    /// What holds for `key`.
    pub fn get(&self, key: &str) -> Option<&Given> {
        self.0.get(key)
    }

    /// Adds a layer that is stronger than what is there.
    fn set(&mut self, row: &'static Row, values: Vec<String>, origin: Origin) {
        self.0.insert(row.key, Given { values, origin });
    }

    /// The built-in defaults.
    pub fn defaults() -> Self {
        let mut layers = Self::default();
        for row in TABLE.iter().filter(|row| !row.default.is_empty()) {
            layers.set(row, vec![row.default.to_owned()], Origin::Default(row.key));
        }
        layers
    }

    /// The configuration file's text over what is there.
    ///
    /// # Errors
    ///
    /// Not TOML, an unknown key, or a value that is no text, number, boolean or list of these.
    pub fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let origin = |at: usize, key: &str| Origin::File {
            path: path.to_owned(),
            line: text.get(..at).map_or(0, |before| before.matches('\n').count() + 1),
            key: key.to_owned(),
        };
        let table = DeTable::parse(text).map_err(|error| ConfigError {
            origin: origin(error.span().map_or(0, |span| span.start), "TOML"),
            problem: error.message().to_owned(),
        })?;
        for (name, value) in table.get_ref() {
            let key = name.get_ref();
            let origin = origin(name.span().start, key);
            let Some(row) = row(key) else {
                return Err(ConfigError { origin, problem: unknown(key) });
            };
            let Some(values) = texts(value.get_ref()) else {
                let problem = "must be a text, a number, true or false, or a list of these".into();
                return Err(ConfigError { origin, problem });
            };
            check_count(row, &values, &origin)?;
            self.set(row, values, origin);
        }
        Ok(())
    }

    /// `SAMI_PROXY_…` variables over what is there. An empty one counts as not given, unless it
    /// should hold a secret: then something has gone wrong that must not pass in silence.
    ///
    /// # Errors
    ///
    /// An unknown variable, or an empty secret.
    pub fn add_environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (name, value) in variables {
            let origin = Origin::Variable(name.clone());
            let Some(row) = TABLE.iter().find(|row| row.variable() == name) else {
                if is_ours(&name) {
                    let key =
                        name.trim_start_matches("SAMI_PROXY_").to_lowercase().replace('_', "-");
                    return Err(ConfigError { origin, problem: unknown(&key) });
                }
                continue;
            };
            if value.is_empty() && row.secret {
                return Err(ConfigError { origin, problem: "is set but empty".into() });
            }
            if !value.is_empty() {
                self.set(row, split(row, &value), origin);
            }
        }
        Ok(())
    }

    /// Values from the command line over what is there.
    pub fn add_flag(&mut self, key: &str, values: &[String]) {
        if let Some(row) = row(key) {
            let values = values.iter().flat_map(|value| split(row, value)).collect();
            self.set(row, values, Origin::Flag(row.key));
        }
    }
}

/// Whether a variable is meant for us. Kubernetes puts `SAMI_PROXY_PORT…` and
/// `SAMI_PROXY_SERVICE_…` into every container beside a service named `sami-proxy`.
fn is_ours(name: &str) -> bool {
    let foreign = ["SAMI_PROXY_SERVICE_", "SAMI_PROXY_PORT"];
    name.starts_with("SAMI_PROXY_")
        && !OTHER_COMMANDS.contains(&name)
        && !foreign.iter().any(|prefix| name.starts_with(prefix))
}

fn unknown(key: &str) -> String {
    let near = TABLE.iter().map(|row| row.key).find(|known| is_near(known, key));
    match near {
        Some(known) => format!("there is no setting {key:?}; did you mean {known:?}?"),
        None => format!("there is no setting {key:?}; `sami-proxy serve --help` lists them"),
    }
}

/// Whether a person may have meant `known`: the same letters but for `-` and a plural, or one
/// within the other.
fn is_near(known: &str, typed: &str) -> bool {
    let plain = |text: &str| text.replace(['-', '_'], "").trim_end_matches('s').to_lowercase();
    let (known, typed) = (plain(known), plain(typed));
    known == typed
        || (typed.len() >= 4 && known.starts_with(&typed))
        || (known.len() >= 4 && typed.starts_with(&known))
}

fn split(row: &Row, value: &str) -> Vec<String> {
    let parts: Vec<String> = match row.repeat {
        Repeat::Once => vec![value.to_owned()],
        Repeat::Commas => value.split(',').map(|part| part.trim().to_owned()).collect(),
        Repeat::Lines => value.lines().map(str::to_owned).collect(),
    };
    parts.into_iter().filter(|part| row.repeat == Repeat::Once || !part.is_empty()).collect()
}

fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    Some(match value {
        DeValue::String(text) => vec![text.to_string()],
        DeValue::Integer(number) => vec![number.to_string()],
        DeValue::Boolean(value) => vec![value.to_string()],
        DeValue::Array(list) => {
            let mut values = Vec::new();
            for item in list {
                values.extend(texts(item.get_ref())?);
            }
            values
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => return None,
    })
}

fn check_count(row: &Row, values: &[String], origin: &Origin) -> Result<(), ConfigError> {
    if row.repeat == Repeat::Once && values.len() != 1 {
        let problem = "takes one value, not a list".to_owned();
        return Err(ConfigError { origin: origin.clone(), problem });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Layers, Origin};

    fn values(layers: &Layers, key: &str) -> Vec<String> {
        layers.get(key).map(|given| given.values.clone()).unwrap_or_default()
    }

    fn environment(layers: &mut Layers, pairs: &[(&str, &str)]) -> Result<(), String> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        layers.add_environment(pairs).map_err(|error| error.to_string())
    }

    fn file(text: &str) -> Result<Layers, String> {
        let mut layers = Layers::defaults();
        layers.add_file(Path::new("c.toml"), text).map_err(|error| error.to_string())?;
        Ok(layers)
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let mut layers =
            file("log-level = 'debug'\nlisten = ['127.0.0.1:1', '127.0.0.1:2']\n").unwrap();
        assert_eq!(values(&layers, "listen"), ["127.0.0.1:1", "127.0.0.1:2"]);
        assert_eq!(values(&layers, "log-format"), ["text"]);
        environment(
            &mut layers,
            &[("SAMI_PROXY_LISTEN", "127.0.0.1:3, 127.0.0.1:4"), ("PATH", "x")],
        )
        .unwrap();
        assert_eq!(values(&layers, "listen"), ["127.0.0.1:3", "127.0.0.1:4"]);
        layers.add_flag("listen", &["127.0.0.1:5".to_owned()]);
        assert_eq!(values(&layers, "listen"), ["127.0.0.1:5"]);
        assert_eq!(layers.get("listen").unwrap().origin, Origin::Flag("listen"));
        assert_eq!(values(&layers, "log-level"), ["debug"]);
    }

    #[test]
    fn a_password_may_hold_commas() {
        let mut layers = Layers::defaults();
        environment(&mut layers, &[("SAMI_PROXY_AUTH", "a:1,2\nb:3\n")]).unwrap();
        assert_eq!(values(&layers, "auth"), ["a:1,2", "b:3"]);
    }

    #[test]
    fn what_nobody_knows_is_refused_by_name_and_place() {
        let cases = [
            (
                "\nlisten-on = 'x'\n",
                r#"c.toml:2: listen-on: there is no setting "listen-on"; did you mean "listen"?"#,
            ),
            ("listen = [", "c.toml:1: TOML: "),
            ("connect-timeout = 1.5", "c.toml:1: connect-timeout: must be a text"),
            ("log-level = ['a', 'b']", "c.toml:1: log-level: takes one value, not a list"),
            ("[listen]\nx = 1", "c.toml:1: listen: must be a text"),
        ];
        for (text, message) in cases {
            let found = file(text).unwrap_err();
            assert!(found.starts_with(message), "{found}");
        }
        let mut layers = Layers::defaults();
        let found = environment(&mut layers, &[("SAMI_PROXY_PASSWORD", "x")]).unwrap_err();
        assert!(
            found.starts_with("SAMI_PROXY_PASSWORD: there is no setting \"password\""),
            "{found}"
        );
        let found = environment(&mut layers, &[("SAMI_PROXY_AUTH", "")]).unwrap_err();
        assert_eq!(found, "SAMI_PROXY_AUTH: is set but empty");
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        let foreign = [
            ("SAMI_PROXY_PORT", "tcp://10.0.0.1:8080"),
            ("SAMI_PROXY_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("SAMI_PROXY_SERVICE_HOST", "10.0.0.1"),
            ("SAMI_PROXY_TARGET", "81.85.76.160:8080"),
            ("SAMI_PROXY_LOG_LEVEL", ""),
        ];
        let mut layers = Layers::defaults();
        environment(&mut layers, &foreign).unwrap();
        assert_eq!(values(&layers, "log-level"), ["info"]);
    }
}
