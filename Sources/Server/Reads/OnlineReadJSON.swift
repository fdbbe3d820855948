import Core
import Features
import NIOCore

/// Online reads as JSON, read and written without a tree between: the hot path of the REST API.
enum OnlineReadJSON {
  static func question(
    _ body: ByteBuffer, lists: FeatureLists, snapshot: Snapshot
  ) throws -> OnlineQuestion {
    try body.withUnsafeReadableBytes { bytes in
      var reader = OnlineReadReader(bytes.bindMemory(to: UInt8.self), lists: lists)
      try reader.read()
      return try OnlineQuestion(
        list: reader.list, set: reader.set, rows: reader.rows, lists: lists, snapshot: snapshot)
    }
  }

  /// `{"features": […], "time": …, "rows": [{"values": […], "statuses": […], "event_timestamps": […], "ages_seconds": […]}]}`
  static func answer(_ list: FeatureList, _ answer: HydratedRows) -> ByteBuffer {
    var buffer = TextBuffer(
      capacity: list.jsonHead.count + 128 + answer.vectors.count * (96 + list.names.count * 72))
    buffer.append(list.jsonHead)
    buffer.append(answer.time)
    buffer.append(#"","rows":["#)
    var isFirst = true
    for vector in answer.vectors {
      if !isFirst { buffer.append(UInt8(ascii: ",")) }
      isFirst = false
      write(vector, at: answer.time, into: &buffer)
    }
    buffer.append("]}\n")
    return buffer.withBytes { ByteBuffer(bytes: $0) }
  }

  private static func write(
    _ vector: FeatureVector, at time: Timestamp, into buffer: inout TextBuffer
  ) {
    buffer.append(#"{"values":["#)
    for (index, feature) in vector.values.enumerated() {
      if index > 0 { buffer.append(UInt8(ascii: ",")) }
      buffer.append(json: feature.value)
    }
    buffer.append(#"],"statuses":["#)
    for (index, feature) in vector.values.enumerated() {
      if index > 0 { buffer.append(UInt8(ascii: ",")) }
      switch feature.status {
      case .present: buffer.append(#""present""#)
      case .null: buffer.append(#""null""#)
      case .notFound: buffer.append(#""not_found""#)
      case .expired: buffer.append(#""expired""#)
      }
    }
    buffer.append(#"],"event_timestamps":["#)
    write(times: vector, into: &buffer) { time, buffer in
      buffer.append(UInt8(ascii: "\""))
      buffer.append(time)
      buffer.append(UInt8(ascii: "\""))
    }
    buffer.append(#"],"ages_seconds":["#)
    write(times: vector, into: &buffer) { event, buffer in
      buffer.append(seconds: (time - event).microseconds)
    }
    buffer.append("]}")
  }

  /// Most values of a key are of one event: what was written of it is copied.
  @inline(__always)
  private static func write(
    times vector: FeatureVector, into buffer: inout TextBuffer,
    _ write: (Timestamp, inout TextBuffer) -> Void
  ) {
    var last: Timestamp?
    var written = 0..<0
    for (index, feature) in vector.values.enumerated() {
      if index > 0 { buffer.append(UInt8(ascii: ",")) }
      guard let event = feature.eventTimestamp else {
        buffer.append("null")
        continue
      }
      if event == last {
        buffer.repeatBytes(written)
        continue
      }
      let start = buffer.count
      write(event, &buffer)
      last = event
      written = start..<buffer.count
    }
  }
}

/// Reads `{"features": […] or "feature_set": name, "entities": [{column: value}] or {column: value}}`.
private struct OnlineReadReader {
  private var scanner: JSONScanner
  private let lists: FeatureLists
  private(set) var list: FeatureList?
  private(set) var set: String?
  private(set) var rows: [RequestRow] = []
  private var hasEntities = false

  init(_ bytes: UnsafeBufferPointer<UInt8>, lists: FeatureLists) {
    scanner = JSONScanner(bytes)
    self.lists = lists
  }

  mutating func read() throws {
    do {
      try members()
    } catch let fault as JSONFault {
      throw PlatformError(
        .invalidArgument, "not valid JSON at byte \(fault.offset): \(fault.message)")
    }
    guard hasEntities else { throw OnlineReadReader.noEntities }
  }

  private static let noEntities = PlatformError(
    .invalidArgument,
    "'entities' must be an object or a list of objects, as in [{\"customer_id\": 42}]")

  private mutating func members() throws {
    scanner.skipBlanks()
    // An empty body reads as an empty object.
    if scanner.isAtEnd { return }
    guard try scanner.kind() == .object else {
      throw PlatformError(
        .invalidArgument, "send an object with 'features' or 'feature_set', and 'entities'")
    }
    try object { reader, name in try reader.member(name) }
    scanner.skipBlanks()
    guard scanner.isAtEnd else {
      throw JSONFault("text after the end of the JSON value", at: scanner.position)
    }
  }

  private mutating func member(_ name: String) throws {
    switch name {
    case "features":
      let start = scanner.position
      try scanner.skipValue(depth: 1)
      let text = scanner.slice(start..<scanner.position)
      list = try lists.list(UnsafeRawBufferPointer(text)) {
        try FeatureList(FeatureJSON.names(JSON(parsing: text), field: "features"))
      }
    case "feature_set":
      guard try scanner.kind() == .string else {
        throw PlatformError(.invalidArgument, "'feature_set' must be the name of a model")
      }
      set = try scanner.text(try scanner.string())
    case "entities":
      hasEntities = true
      rows = []
      switch try scanner.kind() {
      case .object: try row()
      case .array: try array { try $0.row() }
      default: throw OnlineReadReader.noEntities
      }
    default:
      throw PlatformError(
        .invalidArgument,
        "'\(name)' is no part of an online read; send 'features' or 'feature_set', and 'entities'"
          + suggestion(for: name, among: ["features", "feature_set", "entities"]))
    }
  }

  private mutating func row() throws {
    guard try scanner.kind() == .object else {
      throw PlatformError(.invalidArgument, "each row of 'entities' must be an object")
    }
    guard rows.count < Limits.onlineReadRows else {
      throw PlatformError(
        .invalidArgument,
        "more than \(Limits.onlineReadRows) rows are asked for; read them in several calls")
    }
    var row = RequestRow(minimumCapacity: 1)
    try object { reader, name in row[name] = try reader.value(of: name) }
    rows.append(row)
  }

  private mutating func value(of name: String) throws -> Value {
    switch try scanner.kind() {
    case .string: return .string(try scanner.text(try scanner.string()))
    case .number:
      let number = try scanner.number()
      return number.int64.map { .int64($0) } ?? .double(number.double)
    case .bool: return .bool(try scanner.bool())
    case .null:
      try scanner.null()
      return .null
    case .array, .object:
      let start = scanner.position
      try scanner.skipValue(depth: 2)
      guard let value = try JSON(parsing: scanner.slice(start..<scanner.position)).value else {
        throw PlatformError(
          .invalidArgument,
          "'\(name)' in 'entities' must be a number, text, true, false or null, or an array of one of them without null"
        )
      }
      return value
    }
  }

  // MARK: Forms

  @inline(__always)
  private mutating func object(
    _ member: (inout OnlineReadReader, String) throws -> Void
  ) throws {
    try scanner.expect(UInt8(ascii: "{"))
    scanner.skipBlanks()
    if scanner.take(UInt8(ascii: "}")) { return }
    repeat {
      scanner.skipBlanks()
      let name = try scanner.text(try scanner.string())
      scanner.skipBlanks()
      try scanner.expect(UInt8(ascii: ":"))
      scanner.skipBlanks()
      try member(&self, name)
      scanner.skipBlanks()
    } while scanner.take(UInt8(ascii: ","))
    try scanner.expect(UInt8(ascii: "}"))
  }

  @inline(__always)
  private mutating func array(_ item: (inout OnlineReadReader) throws -> Void) throws {
    try scanner.expect(UInt8(ascii: "["))
    scanner.skipBlanks()
    if scanner.take(UInt8(ascii: "]")) { return }
    repeat {
      scanner.skipBlanks()
      try item(&self)
      scanner.skipBlanks()
    } while scanner.take(UInt8(ascii: ","))
    try scanner.expect(UInt8(ascii: "]"))
  }
}
