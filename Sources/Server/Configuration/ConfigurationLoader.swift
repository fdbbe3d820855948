import Catalog
import Core
import Foundation

/// Where a value in force came from.
package enum SettingOrigin: Sendable, Equatable, CustomStringConvertible {
  case `default`
  /// A default that depends on the machine, and on what.
  case found(String)
  case file(String, line: Int)
  case environment(String)
  case commandLine

  package var description: String {
    switch self {
    case .default: "default"
    case .found(let what): "default, found by \(what)"
    case .file(let path, let line): line > 0 ? "\(path):\(line)" : path
    case .environment(let variable): variable
    case .commandLine: "the command line"
    }
  }
}

/// Where each value of a configuration came from, by setting name.
package struct ConfigurationOrigins: Sendable {
  var bySetting: [String: SettingOrigin] = [:]

  package subscript(setting: String) -> SettingOrigin { bySetting[setting] ?? .default }
}

/// Reads the configuration: defaults, then the file, then `.env`, then the environment, then the command line; the last
/// one wins.
package struct ConfigurationLoader {
  package static let fileName = "martlet.config.yaml"

  /// Variables that the platform, its tools and its workers use but that are no settings.
  static let otherVariables: Set<String> = [
    "MARTLET_ADDRESS", "MARTLET_CONFIG", "MARTLET_DUCKDB_HOME", "MARTLET_SKIP_APT",
    "MARTLET_WORKER_TOKEN",
  ]
  /// A shorter name for a variable that is set often.
  static let aliases = ["MARTLET_PYTHON": "MARTLET_WORKERS_PYTHON"]

  private let workingDirectory: String
  private var configuration = Configuration()
  private var origins = ConfigurationOrigins()
  private var problems: [String] = []

  /// Loads the configuration, or throws with everything that is wrong with it.
  ///
  /// - Parameters:
  ///   - file: the file to read; nil reads the one that MARTLET_CONFIG names, or `martlet.config.yaml` if it is there.
  ///   - environment: the variables of the process.
  ///   - workingDirectory: where relative paths and `.env` are found.
  ///   - overrides: texts by setting name, given on the command line.
  package static func load(
    file: String?, environment: [String: String], workingDirectory: String,
    overrides: [String: String] = [:]
  ) throws(PlatformError) -> (Configuration, ConfigurationOrigins) {
    var loader = ConfigurationLoader(workingDirectory: workingDirectory)
    loader.readFile(file ?? environment["MARTLET_CONFIG"])
    loader.readEnvironmentFile()
    loader.readEnvironment(environment)
    loader.readOverrides(overrides)
    loader.findPython(environment)
    loader.checkTogether()
    guard loader.problems.isEmpty else {
      let count = loader.problems.count
      throw PlatformError(
        .invalidConfiguration,
        loader.problems.joined(separator: "\n")
          + "\n\(count) error\(count == 1 ? "" : "s") in the configuration")
    }
    return (loader.configuration, loader.origins)
  }

  private init(workingDirectory: String) { self.workingDirectory = workingDirectory }

  private func path(_ path: String) -> String {
    path.hasPrefix("/") ? path : workingDirectory + "/" + path
  }

  private func exists(_ file: String) -> Bool { FileManager.default.fileExists(atPath: path(file)) }

  /// Sets one value; `place` begins the message when the text is wrong.
  private mutating func set(
    _ setting: Setting, to text: String, from origin: SettingOrigin, at place: String
  ) {
    if let problem = setting.set(text, &configuration) {
      problems.append("\(place): '\(setting.name)' \(setting.isSecret ? "is empty" : problem)")
    } else {
      origins.bySetting[setting.name] = origin
    }
  }
}

// MARK: The file

extension ConfigurationLoader {
  private mutating func readFile(_ asked: String?) {
    let name = asked ?? Self.fileName
    if asked == nil, !exists(name) { return }
    let bytes: [UInt8]
    do {
      bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path(name))))
    } catch {
      problems.append(
        "the configuration file '\(name)' cannot be read: \(error.localizedDescription)")
      return
    }
    let diagnostics = Diagnostics(file: name)
    let root = YAMLDocument.read(bytes, diagnostics)
    if let root, !isEmpty(root) { readTree(root, prefix: "", name, diagnostics) }
    problems = diagnostics.all.map(\.description) + problems
  }

  private func isEmpty(_ node: YAMLNode) -> Bool {
    if case .scalar(let scalar) = node { scalar.isNull } else { false }
  }

  private mutating func readTree(
    _ node: YAMLNode, prefix: String, _ file: String, _ diagnostics: Diagnostics
  ) {
    guard case .mapping(let entries, _) = node else {
      diagnostics.report(
        "\(prefix.isEmpty ? "the file" : "'\(prefix)'") must be a mapping, not \(node.kindName)",
        at: node.place)
      return
    }
    for entry in entries {
      let name = prefix.isEmpty ? entry.key.text : "\(prefix).\(entry.key.text)"
      if prefix.isEmpty, Setting.sections.contains(name) {
        if !isEmpty(entry.value) { readTree(entry.value, prefix: name, file, diagnostics) }
      } else {
        readValue(entry, name, file, diagnostics)
      }
    }
  }

  private mutating func readValue(
    _ entry: YAMLEntry, _ name: String, _ file: String, _ diagnostics: Diagnostics
  ) {
    if let secret = Setting.all.first(where: { $0.isSecret && $0.fileKey == name }) {
      guard let text = text(entry.value, name, diagnostics) else { return }
      readSecret(
        secret, from: text, at: "\(file):\(entry.value.place.line):\(entry.value.place.column)")
      return
    }
    guard let setting = Setting.named(name) else {
      let known = name.contains(".") ? Setting.keys : Setting.sections + Setting.keys
      let near = known.filter { name.contains(".") == $0.contains(".") }
      diagnostics.report(
        "unknown setting '\(name)'\(suggestion(for: name, among: near))", at: entry.key.place)
      return
    }
    if setting.isSecret {
      diagnostics.report(
        "'\(name)' is a secret and is not written in the file; set \(setting.variable), or give '\(setting.fileKey)'",
        at: entry.key.place)
      return
    }
    guard let text = text(entry.value, name, diagnostics) else { return }
    if let problem = setting.set(text, &configuration) {
      diagnostics.report("'\(name)' \(problem)", at: entry.value.place)
    } else {
      origins.bySetting[name] = .file(file, line: entry.key.place.line)
    }
  }

  private func text(_ node: YAMLNode, _ name: String, _ diagnostics: Diagnostics) -> String? {
    switch node {
    case .scalar(let scalar) where !scalar.isNull: return scalar.text
    case .list(let items, _) where name == "roles":
      return items.map { if case .scalar(let scalar) = $0 { scalar.text } else { "" } }
        .joined(separator: ",")
    default:
      diagnostics.report("'\(name)' must be a single value, not \(node.kindName)", at: node.place)
      return nil
    }
  }

  private mutating func readSecret(_ setting: Setting, from file: String, at place: String) {
    guard let data = FileManager.default.contents(atPath: path(file)) else {
      problems.append("\(place): '\(setting.fileKey)': the file '\(file)' cannot be read")
      return
    }
    let text = String(decoding: data, as: UTF8.self).trimmingBlanks
    set(setting, to: String(text), from: .file(file, line: 0), at: place)
  }
}

// MARK: The environment

extension ConfigurationLoader {
  private mutating func readEnvironmentFile() {
    let name = ".env"
    guard exists(name), let data = FileManager.default.contents(atPath: path(name)) else { return }
    let lines = String(decoding: data, as: UTF8.self)
      .split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    for (index, line) in lines.enumerated() {
      switch EnvironmentLine(line) {
      case .nothing: break
      case .variable(let variable, let value):
        guard variable.hasPrefix("MARTLET_") else { continue }
        readVariable(
          variable, value, from: .file(name, line: index + 1), at: "\(name):\(index + 1)")
      case .malformed:
        problems.append("\(name):\(index + 1): not of the form NAME=value")
      }
    }
  }

  private mutating func readEnvironment(_ environment: [String: String]) {
    // An alias first, so that the full name wins.
    let variables = environment.keys.filter { $0.hasPrefix("MARTLET_") }
      .sorted { (Self.aliases[$0] == nil ? 1 : 0, $0) < (Self.aliases[$1] == nil ? 1 : 0, $1) }
    for variable in variables {
      readVariable(
        variable, environment[variable] ?? "", from: .environment(variable), at: variable)
    }
  }

  private mutating func readOverrides(_ overrides: [String: String]) {
    for (name, text) in overrides.sorted(by: { $0.key < $1.key }) {
      if let setting = Setting.named(name), !setting.isSecret {
        set(setting, to: text, from: .commandLine, at: "the command line")
      } else {
        problems.append(
          "the command line: unknown setting '\(name)'\(suggestion(for: name, among: Setting.keys))"
        )
      }
    }
  }

  private mutating func readVariable(
    _ variable: String, _ value: String, from origin: SettingOrigin, at place: String
  ) {
    if Self.otherVariables.contains(variable) { return }
    let full = Self.aliases[variable] ?? variable
    if let secret = Setting.all.first(where: { $0.isSecret && $0.variable + "_FILE" == full }) {
      readSecret(secret, from: value, at: place)
    } else if let setting = Setting.all.first(where: { $0.variable == full }) {
      set(setting, to: value, from: origin, at: place)
    } else {
      let known = Setting.all.map(\.variable) + Self.otherVariables
      let near = nearestName(to: variable, among: known).map { "; did you mean \($0)?" }
      problems.append(
        "\(place): the variable \(variable) is not known\(near ?? "; `martlet config show` lists the settings")"
      )
    }
  }

  private mutating func findPython(_ environment: [String: String]) {
    guard origins["workers.python"] == .default else { return }
    if let folder = environment["VIRTUAL_ENV"], exists(folder + "/bin/python") {
      configuration.workers.python = folder + "/bin/python"
      origins.bySetting["workers.python"] = .found("VIRTUAL_ENV")
      return
    }
    for folder in [configuration.project, "."] {
      let python = folder == "." ? ".venv/bin/python" : folder + "/.venv/bin/python"
      guard exists(python) else { continue }
      configuration.workers.python = path(python)
      origins.bySetting["workers.python"] = .found(python)
      return
    }
  }

  /// What is right on its own but not with the others.
  private mutating func checkTogether() {
    let server = configuration.server
    if server.httpPort == server.grpcPort, server.httpPort != 0 {
      problems.append(
        "'server.http_port' and 'server.grpc_port' are both \(server.httpPort) (\(describe("server.http_port"))); they must differ"
      )
    }
    let workers = configuration.workers
    if workers.heartbeatTimeout <= workers.heartbeat {
      problems.append(
        "'workers.heartbeat_timeout' is \(workers.heartbeatTimeout) (\(describe("workers.heartbeat_timeout"))); it must be longer than 'workers.heartbeat', which is \(workers.heartbeat)"
      )
    }
    if configuration.jobs.backOffLimit < configuration.jobs.backOff {
      problems.append(
        "'jobs.back_off_limit' is \(configuration.jobs.backOffLimit) (\(describe("jobs.back_off_limit"))); it must not be shorter than 'jobs.back_off', which is \(configuration.jobs.backOff)"
      )
    }
    if configuration.predictionLog.flushRows > configuration.predictionLog.bufferRows {
      problems.append(
        "'prediction_log.flush_rows' is \(configuration.predictionLog.flushRows) (\(describe("prediction_log.flush_rows"))); it must not be above 'prediction_log.buffer_rows', which is \(configuration.predictionLog.bufferRows)"
      )
    }
  }

  private func describe(_ name: String) -> String { "from \(origins[name])" }
}

/// One line of a `.env` file.
enum EnvironmentLine: Equatable {
  case nothing
  case variable(String, String)
  case malformed

  init(_ line: some StringProtocol) {
    var text = String(line.trimmingBlanks)
    if text.isEmpty || text.hasPrefix("#") {
      self = .nothing
      return
    }
    if text.hasPrefix("export ") { text = String(text.dropFirst(7).trimmingBlanks) }
    guard let equals = text.firstIndex(of: "=") else {
      self = .malformed
      return
    }
    let name = String(text[..<equals])
    let isName =
      !name.isEmpty && name.first?.isNumber != true
      && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
    guard isName, let value = Self.value(text[text.index(after: equals)...].trimmingBlanks) else {
      self = .malformed
      return
    }
    self = .variable(name, value)
  }

  /// A value in quotes is taken as it is; a bare one ends before ` #`.
  private static func value(_ text: Substring) -> String? {
    guard let quote = text.first, quote == "\"" || quote == "'" else {
      let end = text.firstRange(of: " #")?.lowerBound ?? text.endIndex
      return String(text[..<end].trimmingBlanks)
    }
    let inner = text.dropFirst()
    guard let close = inner.firstIndex(of: quote) else { return nil }
    let rest = inner[inner.index(after: close)...].trimmingBlanks
    return rest.isEmpty || rest.hasPrefix("#") ? String(inner[..<close]) : nil
  }
}
