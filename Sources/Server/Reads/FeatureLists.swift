import Core
import Features
import Synchronization

/// A list of features that callers ask for, worked out once.
final class FeatureList: Sendable {
  let names: [String]
  let selection: HydrateSelection
  /// `{"features":[…],"time":"`, which every answer begins with.
  let jsonHead: [UInt8]
  /// The field `features` of every answer in protobuf.
  let wireHead: [UInt8]

  convenience init(_ names: [String]) throws {
    guard names.count <= Limits.onlineReadFeatures else {
      throw PlatformError(
        .invalidArgument,
        "\(names.count) features are asked for; at most \(Limits.onlineReadFeatures) are read in one call"
      )
    }
    self.init(names, selection: .features(try FeatureNames.parse(names)))
  }

  init(_ names: [String], selection: HydrateSelection) {
    self.names = names
    self.selection = selection
    var json = Array(#"{"features":["#.utf8)
    FeatureJSON.separated(names, into: &json) { JSON.write($0, into: &$1) }
    json += Array(#"],"time":""#.utf8)
    jsonHead = json
    var wire = WireWriter(capacity: 64)
    for name in names.reversed() { wire.field(1, text: name) }
    wireHead = wire.bytes
  }
}

/// Lists by the bytes that asked for them: callers send the same few lists again and again, and reading one takes
/// longer than the values of a key.
final class FeatureLists: Sendable {
  /// A stranger's lists must not fill the memory.
  private static let maximumLists = 512
  private static let maximumBytes = 16 << 10

  private struct Key: Hashable {
    var bytes: [UInt8]

    func hash(into hasher: inout Hasher) {
      bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
  }

  private let lists = Mutex<[Key: FeatureList]>([:])
  private let sets = Mutex<[String: FeatureList]>([:])

  /// The list that these bytes name; `make` reads it where it is not known.
  func list(
    _ bytes: UnsafeRawBufferPointer, _ make: () throws -> FeatureList
  ) throws -> FeatureList {
    guard bytes.count <= FeatureLists.maximumBytes else { return try make() }
    let key = Key(bytes: Array(bytes))
    if let known = lists.withLock({ $0[key] }) { return known }
    let list = try make()
    lists.withLock { lists in
      if lists.count >= FeatureLists.maximumLists { lists.removeAll() }
      lists[key] = list
    }
    return list
  }

  /// The list of a model's input vector as it is defined now.
  func set(_ name: String, in snapshot: Snapshot) throws -> FeatureList {
    guard let model = snapshot.project.models.first(where: { $0.name == name }) else {
      throw PlatformError(
        .notFound,
        "there is no feature set '\(name)': a set is the features of a model"
          + suggestion(for: name, among: snapshot.project.models.map(\.name)))
    }
    let selection = HydrateSelection.vector(
      model.features, inputs: model.inputs, entities: model.entities)
    if let known = sets.withLock({ $0[name] }), known.selection == selection { return known }
    let list = FeatureList(model.features.map(\.name), selection: selection)
    sets.withLock { sets in
      if sets.count >= FeatureLists.maximumLists { sets.removeAll() }
      sets[name] = list
    }
    return list
  }
}
