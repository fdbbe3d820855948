import Catalog
import Core
import Foundation

/// One setting: its name, what it means, and how its text becomes a value of the configuration.
///
/// The file, the environment, `config show` and the reference page are all made from the table `Setting.all`.
package struct Setting: Sendable {
  /// Like `server.http_port`.
  package let name: String
  package let meaning: String
  /// What may be written.
  package let form: String
  package let isSecret: Bool
  /// Sets the value; returns what is wrong with the text, nil if nothing is.
  let set: @Sendable (String, inout Configuration) -> String?
  /// The value in force; nil where there is none.
  let show: @Sendable (Configuration) -> String?

  private init(
    _ name: String, _ meaning: String, form: String, isSecret: Bool = false,
    set: @escaping @Sendable (String, inout Configuration) -> String?,
    show: @escaping @Sendable (Configuration) -> String?
  ) {
    self.name = name
    self.meaning = meaning
    self.form = form
    self.isSecret = isSecret
    self.set = set
    self.show = show
  }

  /// The environment variable: `MARTLET_SERVER_HTTP_PORT`.
  package var variable: String {
    "MARTLET_" + name.uppercased().replacing(".", with: "_")
  }

  /// For a secret, the key that names a file which holds it.
  package var fileKey: String { name + "_file" }

  package var defaultText: String? { show(Configuration()) }
}

extension Setting {
  package typealias Path<Value> = any WritableKeyPath<Configuration, Value> & Sendable

  static func text(_ name: String, _ path: Path<String>, _ meaning: String) -> Setting {
    Setting(name, meaning, form: "text") { text, configuration in
      guard !text.isEmpty else { return "is empty" }
      configuration[keyPath: path] = text
      return nil
    } show: {
      $0[keyPath: path]
    }
  }

  /// The name of an alias of the model registry.
  static func alias(_ name: String, _ path: Path<String>, _ meaning: String) -> Setting {
    Setting(name, meaning, form: "letters, digits, _ and -") { text, configuration in
      if let problem = RegistryNames.problem(ofAlias: text, isNew: true) {
        return "is '\(text)': \(problem)"
      }
      configuration[keyPath: path] = text
      return nil
    } show: {
      $0[keyPath: path]
    }
  }

  /// A text that need not be there; none by default.
  static func optionalText(_ name: String, _ path: Path<String?>, _ meaning: String) -> Setting {
    Setting(name, meaning, form: "text") { text, configuration in
      guard !text.isEmpty else { return "is empty" }
      configuration[keyPath: path] = text
      return nil
    } show: {
      $0[keyPath: path]
    }
  }

  static func secret(_ name: String, _ path: Path<Secret?>, _ meaning: String) -> Setting {
    Setting(name, meaning, form: "secret", isSecret: true) { text, configuration in
      guard !text.isEmpty else { return "is empty" }
      configuration[keyPath: path] = Secret(text)
      return nil
    } show: {
      $0[keyPath: path].map(\.description)
    }
  }

  /// An http or https address; none by default.
  static func address(_ name: String, _ path: Path<String?>, _ meaning: String) -> Setting {
    Setting(name, meaning, form: "an http or https address") { text, configuration in
      guard let parts = URLComponents(string: text), ["http", "https"].contains(parts.scheme),
        parts.host?.isEmpty == false
      else {
        return "is '\(text)', which is not an address; write for example http://127.0.0.1:5000"
      }
      guard parts.user == nil, parts.password == nil else {
        return "has a user or password in it; write secrets to a file of their own"
      }
      configuration[keyPath: path] = text
      return nil
    } show: {
      $0[keyPath: path]
    }
  }

  static func integer(
    _ name: String, _ path: Path<Int>, _ range: ClosedRange<Int>, _ meaning: String,
    because reason: String? = nil
  ) -> Setting {
    let form = "a whole number from \(range.lowerBound) to \(range.upperBound)"
    return Setting(name, meaning, form: form) { text, configuration in
      guard let number = Int(text), range.contains(number) else {
        return "is '\(text)'; it must be \(form)\(reason.map { ": \($0)" } ?? "")"
      }
      configuration[keyPath: path] = number
      return nil
    } show: {
      "\($0[keyPath: path])"
    }
  }

  static func flag(_ name: String, _ path: Path<Bool>, _ meaning: String) -> Setting {
    Setting(name, meaning, form: "true or false") { text, configuration in
      guard let value = Bool(text) else { return "is '\(text)'; it must be true or false" }
      configuration[keyPath: path] = value
      return nil
    } show: {
      "\($0[keyPath: path])"
    }
  }

  static func time(_ name: String, _ path: Path<Timestamp?>, _ meaning: String) -> Setting {
    Setting(name, meaning, form: "a time with its zone") { text, configuration in
      guard let time = try? Timestamp(iso8601: text) else {
        return "is '\(text)', which is not a time; write for example 2026-01-31T08:00:00Z"
      }
      configuration[keyPath: path] = time
      return nil
    } show: {
      $0[keyPath: path].map(\.description)
    }
  }

  static func share(_ name: String, _ path: Path<Double>, _ meaning: String) -> Setting {
    let form = "a share above 0, at most 1"
    return Setting(name, meaning, form: form) { text, configuration in
      guard let number = Double(text), number > 0, number <= 1 else {
        return "is '\(text)'; it must be \(form)"
      }
      configuration[keyPath: path] = number
      return nil
    } show: {
      "\($0[keyPath: path])"
    }
  }

  static func span(_ name: String, _ path: Path<Span>, _ meaning: String) -> Setting {
    Setting(name, meaning, form: "a length of time") { text, configuration in
      guard let span = Span(text) else {
        return "is '\(text)', which is not a length of time; write for example 500ms, 30s, 5m, 24h"
      }
      configuration[keyPath: path] = span
      return nil
    } show: {
      $0[keyPath: path].description
    }
  }

  static func size(_ name: String, _ path: Path<ByteSize>, _ meaning: String) -> Setting {
    Setting(name, meaning, form: "a number of bytes") { text, configuration in
      guard let size = ByteSize(text) else {
        return "is '\(text)', which is not a number of bytes; write for example 512MB or 4GB"
      }
      configuration[keyPath: path] = size
      return nil
    } show: {
      $0[keyPath: path].description
    }
  }

  /// One of the words of an enumeration; `later` are words of later versions.
  static func word<Word>(
    _ name: String, _ path: Path<Word>, later: [String] = [], _ meaning: String
  ) -> Setting where Word: RawRepresentable<String> & CaseIterable & Sendable {
    let words = Word.allCases.map(\.rawValue)
    return Setting(name, meaning, form: words.joined(separator: ", ")) { text, configuration in
      guard let word = Word(rawValue: text) else {
        return later.contains(text)
          ? "is '\(text)', which is not available in this version; available: \(words.joined(separator: ", "))"
          : "is '\(text)'\(suggestion(for: text, among: words))"
      }
      configuration[keyPath: path] = word
      return nil
    } show: {
      $0[keyPath: path].rawValue
    }
  }

  /// Words with commas between them; in the file also a list.
  static func words<Word>(_ name: String, _ path: Path<[Word]>, _ meaning: String) -> Setting
  where Word: RawRepresentable<String> & CaseIterable & Sendable & Equatable {
    let known = Word.allCases.map(\.rawValue)
    let form = "a list of \(known.joined(separator: ", "))"
    return Setting(name, meaning, form: form) { text, configuration in
      var words: [Word] = []
      for part in text.split(separator: ",").map({ String($0.trimmingBlanks) }) {
        guard let word = Word(rawValue: part) else {
          return "has '\(part)'\(suggestion(for: part, among: known))"
        }
        if !words.contains(word) { words.append(word) }
      }
      guard !words.isEmpty else { return "is empty; it must be \(form)" }
      configuration[keyPath: path] = words
      return nil
    } show: {
      $0[keyPath: path].map(\.rawValue).joined(separator: ", ")
    }
  }
}

extension StringProtocol {
  var trimmingBlanks: SubSequence {
    let start = firstIndex { !$0.isWhitespace } ?? endIndex
    let last = lastIndex { !$0.isWhitespace }
    return self[start..<(last.map { index(after: $0) } ?? start)]
  }
}
