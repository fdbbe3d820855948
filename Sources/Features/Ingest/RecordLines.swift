import Core

extension RecordParser {
  /// Reads JSON lines; one that is not a record goes to quarantine and stops none of the others.
  ///
  /// Blank lines are passed over. More lines than a push may have are refused with all the others, and nothing of them
  /// counts.
  package mutating func append(lines bytes: [UInt8], first: Int64 = 0) throws(PlatformError) {
    try bytes.withUnsafeBufferPointer { (bytes) throws(PlatformError) in
      var number = first
      var start = 0
      while start < bytes.count {
        let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
        let line = UnsafeBufferPointer(rebasing: bytes[start..<end])
        start = end + 1
        guard line.contains(where: { $0 != 0x20 && $0 != 0x0D && $0 != 0x09 }) else { continue }
        guard count < maximumRows else {
          throw PlatformError(
            .invalidArgument,
            "more than \(maximumRows) records in one push; send fewer at a time, or ingest a file")
        }
        append(record: line, number: number)
        number += 1
      }
    }
  }
}
