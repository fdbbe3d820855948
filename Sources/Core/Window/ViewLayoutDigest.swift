import Crypto

extension ViewLayout {
  /// Identifies what is kept for each entity key, not how features are read from it.
  ///
  /// Layouts of one digest have interchangeable states: a view that only gains a derived feature or changes a ttl
  /// keeps its states. The digest is the same in every process.
  package var stateDigest: String {
    var text = "1\n\(source)\n"
    for (column, type) in zip(keyColumns, keyTypes) { text += "key \(column) \(type.rawValue)\n" }
    for column in latestColumns { text += "latest \(column.name) \(column.type.rawValue)\n" }
    for slot in slots { text += "slot \(slot.column ?? "*") where \(slot.filter?.text ?? "-")\n" }
    for sketch in sketches {
      text += "sketch \(sketch.kind) \(sketch.column) where \(sketch.filter?.text ?? "-")\n"
    }
    for ring in rings {
      text += "ring \(ring.resolution.microseconds) \(ring.horizon.microseconds) \(ring.slots)"
      text += ring.sketches.isEmpty ? "\n" : " \(ring.sketches)\n"
    }
    let hexadecimal = Array("0123456789abcdef")
    return SHA256.hash(data: Array(text.utf8)).prefix(16).reduce(into: "") { hex, byte in
      hex.append(hexadecimal[Int(byte >> 4)])
      hex.append(hexadecimal[Int(byte & 15)])
    }
  }

  /// The name that the view's states have in an online store: another layout is another name.
  ///
  /// So a changed view is built beside the one that is being read, and nobody reads states of a layout that is not theirs.
  package var storageName: String {
    "\(view)@\(stateDigest.prefix(12))\(generation == 0 ? "" : ".\(generation)")"
  }
}
