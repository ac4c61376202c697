//! The LLM providers that `probe --llm` looks for. Pure.

/// A provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provider {
    /// As people call it.
    pub name: &'static str,
    /// A page of its API that answers 401 or 403 to whoever has no key: then it is reached.
    pub url: &'static str,
}

const fn provider(name: &'static str, url: &'static str) -> Provider {
    Provider { name, url }
}

/// In the order of a report.
pub const PROVIDERS: &[Provider] = &[
    provider("OpenAI", "https://api.openai.com/v1/models"),
    provider("Anthropic", "https://api.anthropic.com/v1/models"),
    provider("Google Gemini", "https://generativelanguage.googleapis.com/v1beta/models"),
    provider("DeepSeek", "https://api.deepseek.com/models"),
    provider("Mistral", "https://api.mistral.ai/v1/models"),
    provider("xAI", "https://api.x.ai/v1/models"),
    provider("OpenRouter", "https://openrouter.ai/api/v1/key"),
    provider("Groq", "https://api.groq.com/openai/v1/models"),
    provider("Together", "https://api.together.xyz/v1/models"),
    provider("Cohere", "https://api.cohere.com/v1/models"),
    provider("Perplexity", "https://api.perplexity.ai/chat/completions"),
    provider("Fireworks", "https://api.fireworks.ai/inference/v1/models"),
    provider("Hugging Face", "https://huggingface.co/api/whoami-v2"),
];

/// The provider whose page this is.
pub fn provider_of(url: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|it| it.url == url)
}
