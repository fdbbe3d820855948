import Core

/// What aliases, tags and names of registered models may look like; the rules of MLflow's registry, so that its clients meet no others.
package enum RegistryNames {
  /// The beginning of tags that the platform answers with and that nobody sets.
  package static let ownTags = "martlet."

  /// Why a model cannot be called so; nil for a good name.
  package static func problem(ofModel name: String) -> String? {
    if name.allSatisfy(\.isWhitespace) { return "Missing value for required parameter 'name'." }
    if name.contains("/") || name.contains(":") {
      return "Invalid model name '\(name)'. Names cannot contain '/' or ':'."
    }
    if name == "." || name == ".." {
      return
        "Invalid value \"\(name)\" for parameter 'name' supplied: names must not stand for a folder."
    }
    return tooLong(name, "name", Limits.registryNameCharacters)
  }

  /// - Parameter isNew: whether the alias is to be set: some names are taken for every model.
  package static func problem(ofAlias alias: String, isNew: Bool) -> String? {
    if alias.isEmpty { return "Registered model alias name cannot be empty." }
    guard alias.allSatisfy(isWordCharacter) else {
      return
        "Invalid alias name: '\(alias)'. Names may only contain alphanumerics, underscores (_), and dashes (-)."
    }
    if let problem = tooLong(alias, "Registered model alias name", Limits.aliasCharacters) {
      return problem
    }
    guard isNew else { return nil }
    if alias.lowercased() == "latest" {
      return "'latest' alias name (case insensitive) is reserved."
    }
    if let first = alias.first, "vV".contains(first), alias.count > 1,
      alias.dropFirst().allSatisfy(\.isNumber)
    {
      return "Version alias name '\(alias)' is reserved."
    }
    return nil
  }

  package static func problem(ofTag key: String) -> String? {
    if key.isEmpty { return "Missing value for required parameter 'key'." }
    guard key.allSatisfy({ isWordCharacter($0) || "/. :".contains($0) }) else {
      return
        "Invalid value \"\(key)\" for parameter 'key' supplied: Names may only contain alphanumerics, underscores (_), "
        + "dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
    }
    let parts = key.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }) else {
      return
        "Invalid value \"\(key)\" for parameter 'key' supplied: Names may be treated as files in certain cases, "
        + "and must not resolve to other names when treated as such."
    }
    if key.hasPrefix(ownTags) {
      return
        "Invalid value \"\(key)\" for parameter 'key' supplied: tags that begin with '\(ownTags)' are Martlet's own."
    }
    return tooLong(key, "key", Limits.tagKeyCharacters)
  }

  package static func problem(ofTagValue value: String) -> String? {
    tooLong(value, "value", Limits.tagValueCharacters)
  }

  private static func tooLong(_ text: String, _ what: String, _ limit: Int) -> String? {
    text.unicodeScalars.count <= limit
      ? nil : "'\(what)' exceeds the maximum length of \(limit) characters"
  }

  private static func isWordCharacter(_ character: Character) -> Bool {
    character.isLetter || character.isNumber || character == "_" || character == "-"
  }

  static func check(_ problem: String?) throws(PlatformError) {
    if let problem { throw PlatformError(.invalidArgument, problem) }
  }
}
