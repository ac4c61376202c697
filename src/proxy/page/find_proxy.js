
// A listed host never falls back to DIRECT, whatever its port: when the proxy is away, a silent
// bypass would show the user's own address to the LLM provider.
function FindProxyForURL(url, host) {
  host = host.toLowerCase();
  if (host.charAt(host.length - 1) == ".") {
    host = host.substring(0, host.length - 1);
  }
  for (var i = 0; i < rules.length; i++) {
    if (fits(host, rules[i])) {
      return proxy;
    }
  }
  return "DIRECT";
}

function fits(host, rule) {
  var star = rule.indexOf("*");
  if (star >= 0) {
    // One or more characters other than a dot.
    var before = rule.substring(0, star);
    var end = host.length - (rule.length - star - 1);
    return end > star && host.substring(0, star) == before &&
      host.substring(end) == rule.substring(star + 1) &&
      host.substring(star, end).indexOf(".") < 0;
  }
  if (rule.charAt(0) == ".") {
    var start = host.length - rule.length;
    return start > 0 && host.substring(start) == rule;
  }
  return host == rule;
}
