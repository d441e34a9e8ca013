/*
 * Licensed to the Apache Software Foundation (ASF) under one
 * or more contributor license agreements.  See the NOTICE file
 * distributed with this work for additional information
 * regarding copyright ownership.  The ASF licenses this file
 * to you under the Apache License, Version 2.0 (the
 * "License"); you may not use this file except in compliance
 * with the License.  You may obtain a copy of the License at
 *
 *     http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS,
 * WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
 * See the License for the specific language governing permissions and
 * limitations under the License.
 */
package org.apache.beam.sdk.util.construction.resources;

import io.github.classgraph.ClassGraph;
import java.io.File;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Beam 2.70.0's class, with one change, marked "Foreshock".
 *
 * <p>As released, the job server sends its whole class path, 157 MB, to the JobManager with every
 * job, which takes 20 s of two cores. Where the TaskManagers run from the same folder they have it.
 */
public class ClasspathScanningResourcesDetector implements PipelineResourcesDetector {

  private transient ClassGraph classGraph;

  public ClasspathScanningResourcesDetector(ClassGraph classGraph) {
    this.classGraph = classGraph;
  }

  @Override
  public List<String> detect(ClassLoader classLoader) {
    // Foreshock: nothing is sent to TaskManagers that have it all.
    if (Boolean.getBoolean("foreshock.provided")) {
      return List.of();
    }
    return classGraph.disableNestedJarScanning().addClassLoader(classLoader).getClasspathFiles()
        .stream()
        .map(File::getAbsolutePath)
        .collect(Collectors.toList());
  }
}
