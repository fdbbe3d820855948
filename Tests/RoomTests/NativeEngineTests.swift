import Core
import Foundation
import NativeModelsBackend
import Serving
import Synchronization
import Testing
import Workers

@Suite("Native engine")
struct NativeEngineTests {
  /// An engine over a host and workers that are made up, and files of native models.
  private struct Room {
    let folder = "/tmp/martlet-test-\(UInt64.random(in: .min ... .max))"
    let host = FakeHost()
    let recorder = LogRecorder()
    let engine: NativeEngine

    init(
      isEnabled: Bool = true, clock: WorkerClock = .system,
      libraries: [String: any NativeLibrary] = [:]
    ) throws {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      engine = NativeEngine(
        libraries: libraries, workers: FakeEngine(host: host), host: host, isEnabled: isEnabled,
        clock: clock, log: recorder.logger)
    }

    func remove() { try? FileManager.default.removeItem(atPath: folder) }

    func file(_ text: String) throws -> String {
      let path = "\(folder)/model.native"
      try text.write(toFile: path, atomically: true, encoding: .utf8)
      return path
    }

    func load(_ text: String?, version: Int64 = 1) async throws -> ModelKey {
      let key = ModelKey(model: "churn", version: version)
      var artifact = ModelArtifact(
        key: key, path: "", sha256: "", format: "pickle", features: ["x", "shopping.orders"])
      if let text { artifact.nativePath = try file(text) }
      try await engine.ensureLoaded(artifact, workers: 1)
      return key
    }
  }

  private static func linear(
    _ more: String = "\"link\": \"identity\"", schema: Int = 1,
    features: String = "[\"x\", \"shopping.orders\"]"
  ) -> String {
    "{\"schema\": \(schema), \"kind\": \"linear\", \"class\": \"sklearn.Ridge\", "
      + "\"features\": \(features), \"coefficients\": [2, 3], \"intercept\": 0.5, \(more)}\n"
  }

  private static func rows(_ x: [Double], _ orders: [Double]) -> ColumnBatch {
    ColumnBatch(columns: [
      Column(name: "x", values: .double(x)),
      Column(name: "shopping.orders", values: .double(orders)),
    ])
  }

  private static let long = Span.minutes(1)

  @Test("a version with a native form is scored here, and no worker holds it")
  func native() async throws {
    let room = try Room()
    defer { room.remove() }
    let key = try await room.load(Self.linear())
    let answer = try await room.engine.score(
      key, Self.rows([1, 2], [10, 20]), timeout: Self.long)
    #expect(answer.values == [32.5, 64.5])
    #expect(answer.queue == Span(microseconds: 0))
    #expect(!room.host.holds(key))
  }

  static let scalers: [(steps: String, expected: Double)] = [
    // (3 - 1) / 2 and (10 - 5) / 10
    ("{\"scaler\": \"standard\", \"mean\": [1, 5], \"scale\": [2, 10]}", 2 * 1 + 3 * 0.5 + 0.5),
    ("{\"scaler\": \"standard\", \"mean\": null, \"scale\": [2, 10]}", 2 * 1.5 + 3 * 1 + 0.5),
    ("{\"scaler\": \"standard\", \"mean\": [1, 5], \"scale\": null}", 2 * 2 + 3 * 5 + 0.5),
    // 3 · 0.5 - 1 and 10 · 0.1 + 1, the latter clipped
    (
      "{\"scaler\": \"min_max\", \"scale\": [0.5, 0.1], \"minimum\": [-1, 1], \"clip\": [0, 1]}",
      2 * 0.5 + 3 * 1 + 0.5
    ),
    (
      "{\"scaler\": \"min_max\", \"scale\": [0.5, 0.1], \"minimum\": [-1, 1], \"clip\": null}",
      2 * 0.5 + 3 * 2 + 0.5
    ),
    (
      "{\"scaler\": \"standard\", \"mean\": [1, 5], \"scale\": null}, "
        + "{\"scaler\": \"min_max\", \"scale\": [2, 2], \"minimum\": [0, 0], \"clip\": null}",
      2 * 4 + 3 * 10 + 0.5
    ),
  ]

  @Test("scalers come before the sum, in their order", arguments: scalers)
  func scaled(steps: String, expected: Double) async throws {
    let room = try Room()
    defer { room.remove() }
    let key = try await room.load(Self.linear("\"link\": \"identity\", \"steps\": [\(steps)]"))
    let answer = try await room.engine.score(key, Self.rows([3], [10]), timeout: Self.long)
    #expect(answer.values == [expected])
  }

  @Test("the sum keeps what a plain sum of doubles loses")
  func exactSum() async throws {
    let room = try Room()
    defer { room.remove() }
    let key = try await room.load(
      Self.linear(features: "[\"x\", \"shopping.orders\"]")
        .replacingOccurrences(of: "[2, 3]", with: "[1e17, -1e17]"))
    let answer = try await room.engine.score(
      key, Self.rows([1 + 1e-15], [1]), timeout: Self.long)
    // 1 + 1e-15 is 5 units of 2^-52 above 1.
    #expect(answer.values == [1e17 * 5 * Double.ulpOfOne + 0.5])
  }

  @Test("a logistic model answers a probability")
  func logistic() async throws {
    let room = try Room()
    defer { room.remove() }
    let key = try await room.load(Self.linear("\"link\": \"logistic\""))
    let answer = try await room.engine.score(
      key, Self.rows([-0.25, 400, -4_000], [0, 0, 0]), timeout: Self.long)
    #expect(answer.values == [0.5, 1, 0])
  }

  static let unreadable: [(file: String?, why: String)] = [
    (nil, ""),
    ("", "it has no first line"),
    ("{}\n", "its first line is not what a worker writes"),
    (linear(schema: 9), "it has schema 9, and this platform reads 1"),
    (linear(features: "[\"x\"]"), "its coefficients are not as many as its features"),
    (linear(features: "[\"x\", \"y\"]"), "it takes x, y, but the version has x, shopping.orders"),
    (linear("\"link\": \"probit\""), "its link is 'probit'"),
    (
      linear("\"link\": \"identity\", \"steps\": [{\"scaler\": \"robust\"}]"),
      "it has a scaler 'robust'"
    ),
    (
      linear("\"link\": \"identity\", \"steps\": [{\"scaler\": \"standard\", \"scale\": [1]}]"),
      "a scaler is for 1 of 2 features"
    ),
    ("{\"schema\": 1, \"kind\": \"onnx\", \"class\": \"x\"}\n", "of the kind 'onnx'"),
    (
      "{\"schema\": 1, \"kind\": \"none\", \"class\": \"x\", \"why\": \"no reason\"}\n", "no reason"
    ),
  ]

  @Test("a version whose native form cannot be read is served by workers", arguments: unreadable)
  func fallsBack(file: String?, why: String) async throws {
    let room = try Room()
    defer { room.remove() }
    let key = try await room.load(file)
    #expect(room.host.holds(key))
    #expect(!room.engine.isLoaded(key))
    let answer = try await room.engine.score(key, Self.rows([1], [10]), timeout: Self.long)
    #expect(answer.values == [1_010])
    #expect(room.recorder.lines.count == (file == nil ? 0 : 1))
    for line in room.recorder.lines {
      #expect(line.hasPrefix("warning a version is served by workers"))
      #expect(line.contains(why))
    }
  }

  static let absent: [(library: any NativeLibrary, why: String)] = [
    (
      LightGBMLibrary(.lightGBM(path: "/nowhere/lib.so", python: "python3")),
      "there is no /nowhere/lib.so, which serving.lightgbm_library names"
    ),
    (
      XGBoostLibrary(.xgboost(path: nil, python: "/nowhere/python")),
      "/nowhere/python has no package 'xgboost'"
    ),
    (
      XGBoostLibrary(.xgboost(path: #filePath, python: "python3")),
      "NativeEngineTests.swift cannot be loaded"
    ),
  ]

  @Test("a library that is not there leaves the version to workers, and the log says what to do")
  func noLibrary() async throws {
    for (library, why) in Self.absent {
      let room = try Room(libraries: ["lightgbm": library])
      defer { room.remove() }
      let key = try await room.load(
        "{\"schema\": 1, \"kind\": \"lightgbm\", \"class\": \"lightgbm.Booster\", "
          + "\"features\": [\"x\", \"shopping.orders\"]}\ntree")
      #expect(room.host.holds(key))
      #expect(room.recorder.lines.first?.contains(why) == true, "\(room.recorder.lines)")
    }
  }

  @Test("with serving.native false every version is a worker's")
  func disabled() async throws {
    let room = try Room(isEnabled: false)
    defer { room.remove() }
    let key = try await room.load(Self.linear())
    #expect(room.host.holds(key))
    #expect(room.recorder.lines.isEmpty)
  }

  @Test("a version that is let go of is not loaded any more, and the workers hear nothing of it")
  func unloads() async throws {
    let room = try Room()
    defer { room.remove() }
    let key = try await room.load(Self.linear())
    room.engine.unload(key)
    let error = await failure {
      try await room.engine.score(key, Self.rows([1], [1]), timeout: Self.long)
    }
    #expect(error?.context["reason"] == "not_loaded")
    let other = try await room.load(nil, version: 2)
    room.engine.unload(other)
    await room.host.wait(for: "unloaded 2")
    #expect(!room.host.holds(other))
  }

  @Test("many rows are scored in parts, and stop at the deadline")
  func deadline() async throws {
    let time = Mutex(Int64(0))
    let clock = WorkerClock(
      now: {
        Span(
          microseconds: time.withLock {
            $0 += 1_000
            return $0
          })
      }, sleep: { _ in })
    let room = try Room(clock: clock)
    defer { room.remove() }
    let key = try await room.load(Self.linear())
    let many = [Double](repeating: 1, count: 1_000)
    let answer = try await room.engine.score(key, Self.rows(many, many), timeout: Self.long)
    #expect(answer.values == [Double](repeating: 5.5, count: 1_000))
    let error = await failure {
      try await room.engine.score(key, Self.rows(many, many), timeout: .milliseconds(2))
    }
    #expect(error?.code == .deadlineExceeded)
    #expect(
      error?.message.contains("scored 512 of 1000 rows") == true, "\(String(describing: error))")
  }

  @Test("a matrix has every type of number, NaN for nulls, and the numbers of texts")
  func matrix() throws {
    let batch = ColumnBatch(columns: [
      Column(name: "text", type: .string, [.string("b"), .null, .string("unheard of")]),
      Column(name: "int", type: .int64, [.int64(1 << 53), .null, .int64(-3)]),
      Column(name: "bool", type: .bool, [.bool(true), .null, .bool(false)]),
      Column(name: "double", type: .double, [.double(-0.0), .null, .double(.infinity)]),
    ])
    let matrix = try FeatureMatrix(
      batch, features: ["double", "int", "text", "bool"], categories: ["text": ["a": 0, "b": 1]])
    #expect(matrix.rows == 3 && matrix.width == 4)
    let expected: [Double] = [
      -0.0, 0x1p53, 1, 1, .nan, .nan, .nan, .nan, .infinity, -3, .nan, 0,
    ]
    #expect(matrix.values.map(\.bitPattern) == expected.map(\.bitPattern))
    #expect(matrix.part(1..<2).values.map(\.isNaN) == [true, true, true, true])
  }

  @Test("a matrix refuses what is no number, and a column that is not there")
  func noMatrix() throws {
    let batch = ColumnBatch(columns: [Column(name: "t", type: .timestamp, [.null])])
    #expect(throws: PlatformError.self) { try FeatureMatrix(batch, features: ["t"]) }
    #expect(throws: PlatformError.self) { try FeatureMatrix(batch, features: ["u"]) }
    let texts = ColumnBatch(columns: [Column(name: "s", type: .string, [.string("a")])])
    #expect(throws: PlatformError.self) { try FeatureMatrix(texts, features: ["s"]) }
  }
}
