import Core
import Foundation
import Server
import Testing

/// A folder with configuration files; removed with the value.
final class ConfigurationFolder: Sendable {
  static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("ConfigurationFixtures")

  let path: String

  init(_ files: [String: String] = [:]) throws {
    path =
      FileManager.default.temporaryDirectory
      .appendingPathComponent("configuration-\(UUID().uuidString)").path
    for (name, text) in files {
      let file = URL(fileURLWithPath: path + "/" + name)
      try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: file)
    }
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  static func names(_ kind: String) -> [String] {
    let files =
      (try? FileManager.default.contentsOfDirectory(
        atPath: fixtures.appendingPathComponent(kind).path)) ?? []
    return files.filter { $0.hasSuffix(".yaml") }.map { String($0.dropLast(5)) }.sorted()
  }

  func add(_ kind: String, _ name: String) throws {
    try FileManager.default.copyItem(
      atPath: Self.fixtures.appendingPathComponent("\(kind)/\(name).yaml").path,
      toPath: path + "/martlet.config.yaml")
  }

  func load(
    _ environment: [String: String] = [:], file: String? = nil, overrides: [String: String] = [:]
  ) throws(PlatformError) -> LoadedConfiguration {
    let (configuration, origins) = try ConfigurationLoader.load(
      file: file, environment: environment, workingDirectory: path, overrides: overrides)
    return LoadedConfiguration(configuration: configuration, origins: origins)
  }
}

struct LoadedConfiguration {
  var configuration: Configuration
  var origins: ConfigurationOrigins

  var report: ConfigurationReport { ConfigurationReport(configuration, origins: origins) }
}

@Suite("Configuration")
struct ConfigurationTests {
  @Test("a good file is read", arguments: ConfigurationFolder.names("good"))
  func goodFiles(name: String) throws {
    let folder = try ConfigurationFolder()
    try folder.add("good", name)
    _ = try folder.load()
  }

  @Test(
    "a bad file is refused with every error in its place",
    arguments: ConfigurationFolder.names("bad"))
  func badFiles(name: String) throws {
    let folder = try ConfigurationFolder()
    try folder.add("bad", name)
    let expected = try String(
      contentsOf: ConfigurationFolder.fixtures.appendingPathComponent("bad/\(name).expected"),
      encoding: .utf8
    ).trimmingCharacters(in: .newlines)
    do {
      _ = try folder.load()
      Issue.record("\(name) was accepted")
    } catch {
      #expect(error.code == .invalidConfiguration)
      #expect(error.message == expected, "\(name)")
    }
  }

  @Test("without a file everything has its default")
  func defaults() throws {
    let loaded = try ConfigurationFolder().load()
    #expect(loaded.configuration == Configuration())
    #expect(loaded.configuration.server.httpPort == 8080)
    #expect(loaded.configuration.roles == Configuration.Role.allCases)
    #expect(loaded.origins["server.http_port"] == .default)
  }

  @Test("every setting of the full file is taken from it")
  func everySetting() throws {
    let folder = try ConfigurationFolder()
    try folder.add("good", "full")
    let loaded = try folder.load()
    for setting in Setting.all where !setting.isSecret {
      guard case .file = loaded.origins[setting.name] else {
        Issue.record("'\(setting.name)' is not in full.yaml")
        continue
      }
    }
    #expect(loaded.configuration.roles == [.serving, .monitoring])
    #expect(loaded.configuration.workers.heartbeat == .milliseconds(500))
    #expect(loaded.configuration.warehouse.memoryLimit == ByteSize(bytes: 512_000_000))
    #expect(loaded.configuration.log.format == .json)
  }

  @Test("the command line overrides the environment, that .env, that the file, that the default")
  func order() throws {
    let folder = try ConfigurationFolder([
      "martlet.config.yaml":
        "server: {http_port: 1, grpc_port: 2, host: file}\nlog: {level: debug}\n",
      ".env": """
      # local settings
      export MARTLET_SERVER_GRPC_PORT="3"
      MARTLET_SERVER_HOST=dotenv   # a comment
      MARTLET_LOG_LEVEL='error'
      AZURE_KEY=of another program
      """,
    ])
    let loaded = try folder.load(
      ["MARTLET_SERVER_HOST": "variable", "MARTLET_LOG_LEVEL": "notice", "HOME": "/home/ann"],
      overrides: ["log.level": "critical"])
    #expect(loaded.configuration.server.httpPort == 1)
    #expect(loaded.configuration.server.grpcPort == 3)
    #expect(loaded.configuration.server.host == "variable")
    #expect(loaded.configuration.log.level == .critical)
    #expect(loaded.origins["server.http_port"] == .file("martlet.config.yaml", line: 1))
    #expect(loaded.origins["server.grpc_port"] == .file(".env", line: 2))
    #expect(loaded.origins["server.host"] == .environment("MARTLET_SERVER_HOST"))
    #expect(loaded.origins["log.level"] == .commandLine)
  }

  @Test(
    "a bad variable is refused with what to write",
    arguments: [
      (
        "MARTLET_SERVER_HTTP_PRT", "1",
        "the variable MARTLET_SERVER_HTTP_PRT is not known; did you mean MARTLET_SERVER_HTTP_PORT?"
      ),
      (
        "MARTLET_X", "1",
        "the variable MARTLET_X is not known; `martlet config show` lists the settings"
      ),
      (
        "MARTLET_SERVER_HTTP_PORT", "many",
        "'server.http_port' is 'many'; it must be a whole number from 0 to 65535"
      ),
      ("MARTLET_SERVER_TOKEN", "", "'server.token' is empty"),
      (
        "MARTLET_ROLES", "serving,trainer",
        "'roles' has 'trainer'; known: monitoring, orchestrator, serving"
      ),
      (
        "MARTLET_JOBS_LEASE", "",
        "'jobs.lease' is '', which is not a length of time; write for example 500ms, 30s, 5m, 24h"
      ),
    ])
  func badVariables(variable: String, value: String, message: String) throws {
    let folder = try ConfigurationFolder()
    #expect {
      _ = try folder.load([variable: value])
    } throws: { error in
      (error as? PlatformError)?.message == "\(variable): \(message)\n1 error in the configuration"
    }
  }

  @Test("variables of the platform's other parts are let pass")
  func otherVariables() throws {
    let loaded = try ConfigurationFolder().load([
      "MARTLET_DUCKDB_HOME": "/opt/duckdb", "MARTLET_WORKER_TOKEN": "t",
      "MARTLET_PYTHON": "/usr/bin/python3",
    ])
    #expect(loaded.configuration.workers.python == "/usr/bin/python3")
    #expect(loaded.origins["workers.python"] == .environment("MARTLET_PYTHON"))
  }

  @Test("a broken .env line is refused with its number")
  func brokenEnvironmentFile() throws {
    let folder = try ConfigurationFolder([
      ".env": "A=1\nMARTLET_LOG_LEVEL info\nMARTLET_LOG_LEVL=info\n"
    ])
    #expect {
      _ = try folder.load()
    } throws: { error in
      (error as? PlatformError)?.message == """
        .env:2: not of the form NAME=value
        .env:3: the variable MARTLET_LOG_LEVL is not known; did you mean MARTLET_LOG_LEVEL?
        2 errors in the configuration
        """
    }
  }

  @Test("a secret comes from the environment or a file and is never printed")
  func secrets() throws {
    let folder = try ConfigurationFolder([
      "token.txt": "from-a-file\n", "martlet.config.yaml": "server: {token_file: token.txt}\n",
    ])
    let fromFile = try folder.load()
    #expect(fromFile.configuration.server.token?.value == "from-a-file")
    let fromVariable = try folder.load(["MARTLET_SERVER_TOKEN": "hunter2"])
    #expect(fromVariable.configuration.server.token?.value == "hunter2")
    var dumped = ""
    dump(fromVariable, to: &dumped)
    let report = fromVariable.report
    for text in [
      report.text, report.json, dumped, "\(fromVariable)", String(reflecting: fromVariable),
    ] {
      #expect(!text.contains("hunter2"))
    }
    #expect(report.text.contains("(set, from MARTLET_SERVER_TOKEN)"))
    #expect(fromFile.report.text.contains("(set, from token.txt)"))
  }

  @Test("a secret in the file is refused without repeating it")
  func literalSecret() throws {
    let folder = try ConfigurationFolder()
    try folder.add("bad", "literal_secret")
    #expect {
      _ = try folder.load()
    } throws: { !"\($0)".contains("hunter2") }
  }

  @Test("Python is found in the active environment, then beside the project")
  func python() throws {
    let folder = try ConfigurationFolder(["venv/bin/python": "", "shop/.venv/bin/python": ""])
    let active = try folder.load(["VIRTUAL_ENV": folder.path + "/venv", "MARTLET_PROJECT": "shop"])
    #expect(active.configuration.workers.python == folder.path + "/venv/bin/python")
    let beside = try folder.load(["MARTLET_PROJECT": "shop", "VIRTUAL_ENV": "/nowhere"])
    #expect(beside.configuration.workers.python == folder.path + "/shop/.venv/bin/python")
    #expect("\(beside.origins["workers.python"])" == "default, found by shop/.venv/bin/python")
    #expect(try folder.load().configuration.workers.python == "python3")
  }

  @Test("a file that was asked for must be there")
  func missingFile() throws {
    let folder = try ConfigurationFolder(["other.yaml": "log: {level: debug}"])
    #expect(throws: PlatformError.self) { try folder.load(file: "nothing.yaml") }
    #expect(try folder.load(file: "other.yaml").configuration.log.level == .debug)
    #expect(try folder.load(["MARTLET_CONFIG": "other.yaml"]).configuration.log.level == .debug)
  }

  @Test(
    "every setting has its own name and variable, a meaning, and a default that it would accept")
  func table() {
    #expect(Set(Setting.all.map(\.name)).count == Setting.all.count)
    #expect(Set(Setting.all.map(\.variable)).count == Setting.all.count)
    for setting in Setting.all {
      #expect(setting.meaning.hasSuffix("."), "\(setting.name)")
      let isOptional =
        setting.isSecret
        || [
          "clock.start", "database_service.namespace", "kafka.brokers", "kafka.instance_id",
          "kafka.properties_file",
          "lineage.openlineage_url", "redis.authority_file", "redis.master", "redis.username",
          "serving.default_model", "serving.lightgbm_library", "serving.xgboost_library",
          "workers.remote_address", "workers.remote_certificate_file", "workers.remote_key_file",
        ].contains(setting.name)
      #expect((setting.defaultText == nil) == isOptional, "\(setting.name)")
    }
  }

  @Test("the reference page is the one that the table of settings makes")
  func referencePage() throws {
    let root = ConfigurationFolder.fixtures.deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let page = root.appendingPathComponent("docs/reference/configuration.md")
    #expect(try String(contentsOf: page, encoding: .utf8) == ConfigurationReport.reference)
  }

  @Test("the reference page and the report name every setting")
  func reference() throws {
    let report = try ConfigurationFolder().load().report
    for setting in Setting.all {
      #expect(ConfigurationReport.reference.contains("`\(setting.variable)`"))
      #expect(report.text.contains(setting.name))
    }
    #expect(report.text.contains("server.http_port"))
    let lines = try JSONDecoder().decode(
      [ConfigurationReport.Line].self, from: Data(report.json.utf8))
    #expect(lines == report.lines)
  }
}
